// Limits on what a GGUF file may claim. Beyond the bounds that the file's own size sets, these keep time and memory
// small for a
// file that was made to cost much; each is far above what real files have.

/** Metadata keys. Real files have below 100. */
export const MAX_KEYS = 65_536;
/** Tensors. The largest real models, with experts apart, have below 100,000. */
export const MAX_TENSORS = 1_000_000;
/** Bytes of a key; the format's own limit. */
export const MAX_KEY_BYTES = 65_535;
/** Bytes of a tensor's name; ggml's `GGML_MAX_NAME` less its NUL. */
export const MAX_TENSOR_NAME_BYTES = 63;
/** Bytes of one string. The longest real ones are chat templates of some 10 kB and tokenizer maps of some 100 kB. */
export const MAX_STRING_BYTES = 16 * 2 ** 20;
/** Elements of one array. The largest real ones are merges, below 1 million. */
export const MAX_ARRAY_ELEMENTS = 16 * 2 ** 20;
/** Bytes of header and metadata together. The largest real ones are vocabularies of some 16 MB. */
export const MAX_METADATA_BYTES = 256 * 2 ** 20;
/** Dimensions of a tensor; ggml's `GGML_MAX_DIMS`. */
export const MAX_DIMENSIONS = 4;
/** Alignment of tensor data. Real files have 32; a page of huge-page systems is 2 MiB. */
export const MAX_ALIGNMENT = 2 * 2 ** 20;
/** Alignment where `general.alignment` is absent; the format's default. */
export const DEFAULT_ALIGNMENT = 32;
