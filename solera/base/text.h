// Small text services: nearest names, numbers and sizes as people write them, quoting.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace solera {

// The candidate nearest to `name` within three single-character edits (insert, delete, replace, swap of
// neighbours), the first listed on a tie; empty if none is near enough.
std::string nearest(std::string_view name, std::span<const std::string> candidates);

// "; did you mean X?" as a hint: "did you mean X?" or "" (see nearest()).
std::string did_you_mean(std::string_view name, std::span<const std::string> candidates);

std::vector<std::string> split(std::string_view text, char separator);  // keeps empty pieces
std::string join(std::span<const std::string> pieces, std::string_view separator);
std::string_view trim(std::string_view text);
bool is_utf8(std::string_view text);  // strict: no overlong forms, surrogates or code points past U+10FFFF

// "1GiB", "256 MiB", "5GB", "4096", "1.5k" in bytes. Decimal (k, M, G, T, with or without B) and binary (Ki, Mi, Gi,
// Ti, with or without B) units, case-insensitive but for the i. Throws Error (usage) naming the text.
std::uint64_t parse_bytes(std::string_view text);

std::string bytes_text(std::uint64_t bytes);            // decimal: "6.7 GB", "512 B"
std::string binary_text(std::uint64_t bytes);           // binary: "1.0 GiB"
std::string duration_text(double seconds);              // "11 s", "2 min 5 s", "3 h 20 min"
std::string number_text(double value, int digits = 6);  // shortest of at most `digits` significant digits
std::string exact_text(double value);  // shortest text that reads back to the same double; nan, inf, -inf
std::string shape_text(std::span<const std::int64_t> shape);  // "[64, 128]", "[]" for a scalar

// A whole-text number; nothing before or after. Empty if it is not one.
std::optional<double> parse_double(std::string_view text);
std::optional<std::int64_t> parse_int(std::string_view text);

// floor(fraction * n) from the decimal text of the fraction, exactly: 0.29 of 100 is 29. The double overload uses
// the shortest decimal text of the double, which is the text a user wrote. n >= 0; fraction finite.
std::int64_t floor_count(double fraction, std::int64_t n);

// Text in single quotes for a POSIX shell, whatever it contains.
std::string shell_quote(std::string_view text);

}  // namespace solera
