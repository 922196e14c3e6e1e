#include "solera/checkpoint/url.h"

#include "tests/support/support.h"

namespace solera::checkpoint {
namespace {

std::string refusal(const std::string& text) {
  return test::message_of([&] { (void)parse_url(text); });
}

TEST(Url, IsReadInItsParts) {
  const Url url = parse_url("HTTPS://Host.Example:8443/a%20b/c.safetensors?sig=x&t=1#there");
  EXPECT_EQ(url.scheme, "https");
  EXPECT_EQ(url.host, "host.example");
  EXPECT_EQ(url.port, 8443);
  EXPECT_EQ(url.path, "/a%20b/c.safetensors");
  EXPECT_EQ(url.query, "sig=x&t=1");
  EXPECT_EQ(url.text(), "https://host.example:8443/a%20b/c.safetensors?sig=x&t=1");
  EXPECT_EQ(url.shown(), "https://host.example:8443/a%20b/c.safetensors");
  EXPECT_EQ(url.origin(), "https://host.example:8443");
}

TEST(Url, HasTheUsualPortsAndPath) {
  EXPECT_EQ(parse_url("http://h").text(), "http://h/");
  EXPECT_EQ(parse_url("http://h").port, 80);
  EXPECT_EQ(parse_url("https://h:443/x").text(), "https://h/x");
  EXPECT_EQ(parse_url("https://h").origin(), parse_url("https://h:443/y").origin());
  EXPECT_EQ(parse_url("http://h?q").text(), "http://h/?q");
  EXPECT_EQ(parse_url("http://[::1]:8080/x").host, "[::1]");
  EXPECT_EQ(parse_url("http://[::1]:8080/x").port, 8080);
  EXPECT_EQ(parse_url("http://[::1]/x").port, 80);
}

TEST(Url, IsRefusedWithTheReason) {
  EXPECT_EQ(refusal("ftp://h/x"), "ftp://h/x is no http or https URL");
  EXPECT_EQ(refusal("h/x"), "h/x is no http or https URL");
  EXPECT_EQ(refusal("http:///x"), "http:///x names no host");
  EXPECT_EQ(refusal("http://h:0/x"), "http://h:0/x has no valid port");
  EXPECT_EQ(refusal("http://h:99999/x"), "http://h:99999/x has no valid port");
  EXPECT_EQ(refusal("http://h:8a/x"), "http://h:8a/x has no valid port");
  EXPECT_EQ(refusal("http://h\\evil/x"), "http://h\\evil/x names no host");
  EXPECT_EQ(refusal("http://h/a b"), "the URL has a character that URLs must not have");
  EXPECT_EQ(refusal("http://h/a\r\nX: y"), "the URL has a character that URLs must not have");
}

TEST(Url, WhatMayBeSecretIsNotRepeated) {
  EXPECT_EQ(refusal("https://me:secret@h/x?sig=secret"),
            "...@h/x has a name or password in it; put them into ~/.netrc");
  EXPECT_EQ(refusal("https://h:x/x?sig=secret"), "https://h:x/x has no valid port");
}

TEST(Redirects, LeadWhereTheHeaderSays) {
  const Url base = parse_url("https://h:444/a/b/c?q");
  const auto to = [&](const std::string& location) {
    const auto url = redirected(base, location);
    return url ? url->text() : "nowhere";
  };
  EXPECT_EQ(to("https://other/x?y"), "https://other/x?y");
  EXPECT_EQ(to("//other/x"), "https://other/x");
  EXPECT_EQ(to("/x/./y/../z"), "https://h:444/x/z");
  EXPECT_EQ(to("d"), "https://h:444/a/b/d");
  EXPECT_EQ(to("../d?r"), "https://h:444/a/d?r");
  EXPECT_EQ(to("../../../../d/"), "https://h:444/d/");
  EXPECT_EQ(to("?r"), "https://h:444/a/b/c?r");
  EXPECT_EQ(to("#r"), "https://h:444/a/b/c?q");
  EXPECT_EQ(to("d:e"), "nowhere");  // a scheme
  EXPECT_EQ(to("./d:e"), "https://h:444/a/b/d:e");
  EXPECT_EQ(to("file:///etc/passwd"), "nowhere");
  EXPECT_EQ(to("https://me:secret@other/"), "nowhere");
  EXPECT_EQ(to(""), "nowhere");
  EXPECT_EQ(to("/a b"), "nowhere");
}

TEST(PercentEncoding, KeepsWhatPathsMayHave) {
  EXPECT_EQ(percent_encoded("a-B_1.~/x"), "a-B_1.~/x");
  EXPECT_EQ(percent_encoded("a b?#%\xc3\xa9"), "a%20b%3F%23%25%C3%A9");
}

TEST(HeaderLines, AreNamesAndValues) {
  using Pair = std::pair<std::string, std::string>;
  EXPECT_EQ(parse_header_line("ETag:  \"x\" \r\n"), Pair("etag", "\"x\""));
  EXPECT_EQ(parse_header_line("Location: http://h:1/\r\n"), Pair("location", "http://h:1/"));
  EXPECT_EQ(parse_header_line("x:"), Pair("x", ""));
  EXPECT_FALSE(parse_header_line("HTTP/1.1 200 OK\r\n"));
  EXPECT_FALSE(parse_header_line("\r\n"));
  EXPECT_FALSE(parse_header_line(": x"));
  EXPECT_FALSE(parse_header_line("a b: x"));
}

TEST(ContentRanges, AreReadStrictly) {
  const auto range = parse_content_range("bytes 5-9/100");
  ASSERT_TRUE(range && range->satisfied);
  EXPECT_EQ(range->first, 5u);
  EXPECT_EQ(range->last, 9u);
  EXPECT_EQ(range->total, 100u);
  const auto none = parse_content_range("Bytes */7");
  ASSERT_TRUE(none && !none->satisfied);
  EXPECT_EQ(none->total, 7u);
  for (const char* text : {"", "bytes", "bytes 5-9", "bytes 5-9/*", "bytes 9-5/100", "bytes 5-100/100", "bytes -5/100",
                           "bytes 5-/100", "items 5-9/100", "bytes 5-9/18446744073709551616", "bytes +5-9/100"})
    EXPECT_FALSE(parse_content_range(text)) << text;
}

}  // namespace
}  // namespace solera::checkpoint
