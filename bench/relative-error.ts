/** ‖x - y‖ / ‖y‖ over all elements of all parts. */
export function relativeError(x: readonly Float32Array[], y: readonly Float32Array[]): number {
    let error = 0;
    let norm = 0;
    for (const [i, part] of y.entries()) {
        for (let j = 0; j < part.length; j++) {
            error += (x[i]![j]! - part[j]!) ** 2;
            norm += part[j]! ** 2;
        }
    }
    return error === 0 ? 0 : Math.sqrt(error / norm);
}
