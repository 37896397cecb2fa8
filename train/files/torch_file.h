// Tensors out of a file that PyTorch's torch.save() has written: .pth, .pt, .pkl.
// Rule: a foreign file is data (train/files/pickle.h): no class of it is needed and no code of it
// is run; whatever is wrong with it is one line that names the file.
#pragma once

#include <map>
#include <string>

#include "engine/tensor.h"

namespace tessera {

// On the host, contiguous, by the names of the state dict. The file holds a state dict, alone or
// under "model" or "state_dict", or a whole module (whose tensors have the names that its state
// dict would give them); in the zip form of PyTorch 1.6 and later or in the older one. UsageError
// for a missing file; Error for one that is broken, or that holds a dtype the engine does not have.
std::map<std::string, Tensor> read_torch_file(const std::string& path);

}  // namespace tessera
