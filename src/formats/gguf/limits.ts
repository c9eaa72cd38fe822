// Limits on what a GGUF file may claim, in addition to the bounds that the file's own size sets. They keep time and
// memory small for a malicious file. Each limit is far above what real files have.

/** Number of metadata keys. Real files have fewer than 100. */
export const MAX_KEYS = 65_536;
/** Number of tensors. The largest real models, with separate experts, have fewer than 100,000. */
export const MAX_TENSORS = 1_000_000;
/** Length of a key, the format's own limit. Unit: bytes. */
export const MAX_KEY_BYTES = 65_535;
/** Length of a tensor's name: ggml's `GGML_MAX_NAME` without its NUL. Unit: bytes. */
export const MAX_TENSOR_NAME_BYTES = 63;
/**
 * Length of one string. The longest real ones are chat templates of about 10 kB and tokenizer maps of about 100 kB.
 * Unit: bytes.
 */
export const MAX_STRING_BYTES = 16 * 2 ** 20;
/** Number of elements in one array. The largest real ones are lists of merges, with fewer than 1 million. */
export const MAX_ARRAY_ELEMENTS = 16 * 2 ** 20;
/** Size of the header and metadata together. The largest real ones contain vocabularies of about 16 MB. Unit: bytes. */
export const MAX_METADATA_BYTES = 256 * 2 ** 20;
/** Number of dimensions of a tensor: ggml's `GGML_MAX_DIMS`. */
export const MAX_DIMENSIONS = 4;
/** Alignment of tensor data. Real files use 32; a huge page is 2 MiB. Unit: bytes. */
export const MAX_ALIGNMENT = 2 * 2 ** 20;
/** Alignment if `general.alignment` is absent: the format's default. Unit: bytes. */
export const DEFAULT_ALIGNMENT = 32;
