// Clang's thread-safety annotations (-Wthread-safety); nothing under other compilers.
// See: https://clang.llvm.org/docs/ThreadSafetyAnalysis.html
#ifndef MANTA_BASE_THREAD_ANNOTATIONS_H_
#define MANTA_BASE_THREAD_ANNOTATIONS_H_

#if defined(__clang__)
#define MANTA_THREAD_ATTRIBUTE(x) __attribute__((x))
#else
#define MANTA_THREAD_ATTRIBUTE(x)
#endif

#define MANTA_CAPABILITY(name) MANTA_THREAD_ATTRIBUTE(capability(name))
#define MANTA_SCOPED_CAPABILITY MANTA_THREAD_ATTRIBUTE(scoped_lockable)
#define MANTA_GUARDED_BY(x) MANTA_THREAD_ATTRIBUTE(guarded_by(x))
#define MANTA_PT_GUARDED_BY(x) MANTA_THREAD_ATTRIBUTE(pt_guarded_by(x))
#define MANTA_REQUIRES(...) MANTA_THREAD_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define MANTA_EXCLUDES(...) MANTA_THREAD_ATTRIBUTE(locks_excluded(__VA_ARGS__))
#define MANTA_ACQUIRE(...) MANTA_THREAD_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define MANTA_TRY_ACQUIRE(...) MANTA_THREAD_ATTRIBUTE(try_acquire_capability(__VA_ARGS__))
#define MANTA_RELEASE(...) MANTA_THREAD_ATTRIBUTE(release_capability(__VA_ARGS__))
#define MANTA_ASSERT_CAPABILITY(x) MANTA_THREAD_ATTRIBUTE(assert_capability(x))
#define MANTA_RETURN_CAPABILITY(x) MANTA_THREAD_ATTRIBUTE(lock_returned(x))
#define MANTA_NO_THREAD_SAFETY_ANALYSIS MANTA_THREAD_ATTRIBUTE(no_thread_safety_analysis)

#endif  // MANTA_BASE_THREAD_ANNOTATIONS_H_
