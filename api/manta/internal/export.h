// MANTA_EXPORT marks what the installed library shows; everything else in it is hidden.
#ifndef MANTA_INTERNAL_EXPORT_H_
#define MANTA_INTERNAL_EXPORT_H_

#define MANTA_EXPORT __attribute__((visibility("default")))

#endif  // MANTA_INTERNAL_EXPORT_H_
