// UBSan's check of an object's type before a virtual call, in builds with it (cmake/MantaSettings.cmake wraps it).
//
// Problem:    it asks the kernel, through a pipe, whether it may look at the object, and takes a pipe that cannot be
//             made for an object that is none. Daemons live on without a free descriptor, and tests make them.
// How:        a type that is met for the first time while there is none goes unchecked.
#include <unistd.h>

#include <cstdint>

extern "C" {

void __real___ubsan_handle_dynamic_type_cache_miss_abort(void* data, uintptr_t object, uintptr_t hash);

// Named as the linker wants it.
void __wrap___ubsan_handle_dynamic_type_cache_miss_abort(void* data, uintptr_t object, uintptr_t hash);
void __wrap___ubsan_handle_dynamic_type_cache_miss_abort(void* data, uintptr_t object, uintptr_t hash) {
  int ends[2];
  if (pipe(ends) != 0) return;
  close(ends[0]);
  close(ends[1]);
  __real___ubsan_handle_dynamic_type_cache_miss_abort(data, object, hash);
}

}  // extern "C"
