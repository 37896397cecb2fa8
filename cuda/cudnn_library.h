// cuDNN's entry points, found in the library at run time: the program starts without it, and its
// 500 MB are in nobody's archive. Rule: headers at build time only; only vendor_conv.cc calls
// these.
#pragma once

#include <cudnn.h>

#include <string>

namespace tessera::cuda::vendor {

#define TESSERA_CUDNN_FUNCTIONS(X)             \
  X(GetVersion)                                \
  X(GetErrorString)                            \
  X(Create)                                    \
  X(SetStream)                                 \
  X(CreateTensorDescriptor)                    \
  X(SetTensor4dDescriptor)                     \
  X(CreateFilterDescriptor)                    \
  X(SetFilter4dDescriptor)                     \
  X(CreateConvolutionDescriptor)               \
  X(SetConvolution2dDescriptor)                \
  X(SetConvolutionGroupCount)                  \
  X(SetConvolutionMathType)                    \
  X(GetConvolutionForwardAlgorithm_v7)         \
  X(GetConvolutionForwardWorkspaceSize)        \
  X(ConvolutionForward)                        \
  X(GetConvolutionBackwardDataAlgorithm_v7)    \
  X(GetConvolutionBackwardDataWorkspaceSize)   \
  X(ConvolutionBackwardData)                   \
  X(GetConvolutionBackwardFilterAlgorithm_v7)  \
  X(GetConvolutionBackwardFilterWorkspaceSize) \
  X(ConvolutionBackwardFilter)

// By their names without "cudnn".
struct Cudnn {
#define TESSERA_CUDNN_POINTER(name) decltype(&::cudnn##name) name = nullptr;
  TESSERA_CUDNN_FUNCTIONS(TESSERA_CUDNN_POINTER)
#undef TESSERA_CUDNN_POINTER
};

// nullptr where the library is not there, is of another major version or lacks a function.
const Cudnn* cudnn_library();
// "cuDNN 9.19.0", or why there is none, for `tessera info`.
std::string cudnn_in_words();

}  // namespace tessera::cuda::vendor
