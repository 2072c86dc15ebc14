#pragma once
namespace iol { class Tokenizer{}; }
