/**
 * Takes files that are dropped anywhere on the page. A browser would leave the page and show the file instead.
 * @param box shown as the target while a file hovers
 */
export function takeDrops(box, onFiles) {
    const hasFiles = ({ dataTransfer }) => dataTransfer?.types.includes("Files");
    addEventListener("dragover", (event) => {
        if (!hasFiles(event)) return;
        event.preventDefault();
        box.classList.add("over");
    });
    addEventListener("dragleave", (event) => {
        // it left the window, not only one of its elements
        if (event.relatedTarget === null) box.classList.remove("over");
    });
    addEventListener("drop", (event) => {
        box.classList.remove("over");
        if (!hasFiles(event)) return;
        event.preventDefault();
        onFiles([...event.dataTransfer.files]);
    });
}
