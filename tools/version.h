// The program's version, the one place where it stands.
#pragma once

namespace tessera {

inline constexpr char kVersion[] = "0.1.0";

}  // namespace tessera
