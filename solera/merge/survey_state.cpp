#include "solera/merge/survey_state.h"

#include <span>

#include "solera/base/document.h"
#include "solera/base/files.h"
#include "solera/base/hash.h"

namespace solera::merge {
namespace {

constexpr int kVersion = 1;

std::string hash_of(std::string_view bytes) { return hash_bytes(std::as_bytes(std::span(bytes))); }

}  // namespace

std::string survey_path(const std::string& folder) { return join_path(folder, "survey.state"); }

void write_survey(const std::string& folder, const std::string& plan, const SurveyState& state) {
  Node head;
  head.set("solera_survey", Node::integer(kVersion));
  head.set("plan", Node::text(plan));
  head.set("bytes", Node::integer(static_cast<std::int64_t>(state.bytes().size())));
  head.set("xxh3", Node::text(hash_of(state.bytes())));
  write_atomically(survey_path(folder), to_json(head) + "\n" + state.bytes());
}

SurveyState read_survey(const std::string& folder, const std::string& plan) {
  const std::string path = survey_path(folder), text = read_file(path);
  const std::size_t line = text.find('\n');
  const auto damaged = [&] {
    return input_error("the state of the survey is damaged", path, "remove it and start the ranks again");
  };
  if (line == std::string::npos) throw damaged();
  Node head;
  try {
    head = parse_json(std::string_view(text).substr(0, line), path);
  } catch (const Error&) {
    throw damaged();
  }
  const Node *version = head.find("solera_survey"), *of = head.find("plan"), *bytes = head.find("bytes"),
             *hash = head.find("xxh3");
  if (!version || !of || !bytes || !hash || version->as_int() != kVersion) throw damaged();
  if (of->as_text() != plan)
    throw input_error("the state of the survey is another plan's", path, "remove it and start the ranks again");
  std::string content = text.substr(line + 1);
  if (bytes->as_uint() != content.size() || hash->as_text() != hash_of(content)) throw damaged();
  return SurveyState(std::move(content));
}

}  // namespace solera::merge
