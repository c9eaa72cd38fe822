/** 32 random hexadecimal digits. `crypto.randomUUID` exists only on HTTPS and on this machine's own addresses. */
export function randomName() {
    return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join(
        ""
    );
}
