// The output's chat template: `chat_template: auto | NAME | TEMPLATE` of a configuration.
//
//   auto       the one that most of the inputs have
//   chatml     <|im_start|>ROLE, the content, <|im_end|>
//   {% ... %}  the text itself, in Jinja
#pragma once

#include <string>

#include "solera/merge/inputs.h"
#include "solera/merge/tokenizer_wish.h"

namespace solera::merge {

// The template's text; empty if it is auto and no input has one. Throws Error (usage) for a name that is not known.
std::string chosen_chat_template(const ChatTemplateWish& wish, const Inputs& inputs);

// Writes it into the folder as chat_template.jinja, and takes another out of tokenizer_config.json.
void write_chat_template(const std::string& text, const std::string& folder);

}  // namespace solera::merge
