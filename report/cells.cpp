#include "report/cells.h"

#include "report/headline.h"

namespace iol::report {

Cell text_cell(std::string text, std::string note) {
  Cell cell;
  cell.text = std::move(text);
  cell.note = std::move(note);
  return cell;
}

Cell subject_cell(const RunReport& report, const std::string& subject, std::string note) {
  Cell cell = text_cell(label_of(report, subject), std::move(note));
  cell.subject = index_of(report, subject);
  return cell;
}

}  // namespace iol::report
