/**
 * Starts to measure how long this thread computes; the function that it returns gives the milliseconds since. Node.js
 * counts the time of a thread from 22.19 on. Before, the shorter of clock time and the process's computing time is
 * given, so that a machine busy with other programs makes nothing look slow.
 */
export function stopwatch(): () => number {
    const { threadCpuUsage } = process as NodeJS.Process & { threadCpuUsage?: () => NodeJS.CpuUsage };
    const cpuMs = () => {
        const { user, system } = threadCpuUsage !== undefined ? threadCpuUsage() : process.cpuUsage();
        return (user + system) / 1000;
    };
    const started = { clock: performance.now(), cpu: cpuMs() };
    return () => Math.min(performance.now() - started.clock, cpuMs() - started.cpu);
}
