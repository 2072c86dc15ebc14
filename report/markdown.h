#pragma once
#include <string>

#include "report/document.h"

namespace iol::report {

/// The document as GitHub-flavoured Markdown. Text from records is escaped.
std::string render_markdown(const Document& document);

}  // namespace iol::report
