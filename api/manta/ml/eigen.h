// Eigen, for manta/ml. Include this instead of Eigen's own headers.
//
// Problem:    GCC 12 reports, with -Wall and AVX-512, "may be used uninitialized" inside its own intrinsics.
// Rule:       the Manta library contains no Eigen code (a test checks): a program built with -march=native would
//             otherwise share Eigen's inline functions with a library built for baseline x86-64.
#ifndef MANTA_ML_EIGEN_H_
#define MANTA_ML_EIGEN_H_

// A matrix product packs blocks of its operands. On the stack up to this size (per block, in bytes): from malloc, in an
// actor's thread, they would go back to the system after each product and be faulted in again for the next one.
#ifndef EIGEN_STACK_ALLOCATION_LIMIT
#define EIGEN_STACK_ALLOCATION_LIMIT (1 << 20)
#endif

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#if defined(__x86_64__)
#include <immintrin.h>  // first, under these pragmas
#endif
#include <Eigen/Core>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#endif  // MANTA_ML_EIGEN_H_
