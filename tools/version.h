// The program's version, the one place where it stands.
#pragma once

namespace tessera {

inline constexpr char kVersion[] = "0.2.0";

}  // namespace tessera
