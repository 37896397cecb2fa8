// Whether a page's markup closes what it opens, with every text and attribute escaped.
#pragma once

#include <string>

namespace tessera {

// Empty when the page is well-formed in the sense of XML (every element closed, attributes in
// double quotes, only the entities amp, lt, gt, quot), after an optional <!DOCTYPE html>. Else the
// first fault with what stands there.
std::string markup_fault(const std::string& page);

}  // namespace tessera
