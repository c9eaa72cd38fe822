/**
 * Waits until a condition holds.
 * @param what the condition in words, for the error
 * @param seconds how long to wait before the test fails; generous, since the machine may be busy with other tests
 */
export async function until(condition: () => boolean, what: string, seconds = 240): Promise<void> {
    const end = performance.now() + 1000 * seconds;
    while (!condition()) {
        if (performance.now() > end) throw new Error(`not within ${seconds} s: ${what}`);
        await new Promise((resolve) => setTimeout(resolve, 5));
    }
}
