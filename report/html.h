#pragma once
#include <string>

#include "report/document.h"

namespace iol::report {

/// The document as one self-contained HTML page: style, scripts and chart library are inside, and a
/// content security policy forbids the page to load anything else. Text from records is escaped.
std::string render_html(const Document& document);

/// JSON that may stand inside a <script> element whatever strings it holds.
std::string embed_json(const Json& json);

}  // namespace iol::report
