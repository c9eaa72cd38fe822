/** Why a context that should take the diagonal schedule takes the sequential one. */
export const packedWeights =
    "this CPU's kernels want the weights packed, and packed layers are no diagonal; " +
    "with ARMT_CPU_EXTRA_BUFFERS=0 in the environment they stay as they are in the file";
