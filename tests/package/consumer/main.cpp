#include <iostream>

#include "solera/base/text.h"
#include "solera/merge/methods.h"

int main() {
  std::cout << solera::merge::method("linear").name << " among the methods; " << solera::bytes_text(6'700'000'000)
            << '\n';
}
