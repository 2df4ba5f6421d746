#pragma once

// TH_CLONES before a function: it is compiled for AVX-512, AVX2 and the baseline, and the loader
// takes what the processor has. Not under the address sanitizer, which starts before the choice is
// made.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
#define TH_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define TH_CLONES
#endif
