# The libraries that Solera stands on. `./run` installs them on Debian and Ubuntu.

find_package(Threads REQUIRED)
find_package(ZLIB REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(simdjson REQUIRED)
find_package(Eigen3 REQUIRED NO_MODULE)
find_package(PkgConfig REQUIRED)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(HWY REQUIRED IMPORTED_TARGET libhwy)
if(SOLERA_TESTS)
  find_package(GTest REQUIRED)
  include(GoogleTest)
endif()
