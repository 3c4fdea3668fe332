// The functions of the fmt that LibTorch's headers bring without a library, compiled here once instead of in
// every file. As inline functions, which the build keeps (CMakeLists.txt), they give way where a program has
// an fmt of the same version.

#define FMT_HEADER_ONLY
#include <fmt/format.h>
