import { realpath, stat } from "node:fs/promises";
import path from "node:path";
import { ArmtError, quote, systemErrorText } from "../../util/errors.js";

/** The folders whose files clients may read. */
export class DocumentFolders {
    private constructor(private readonly folders: readonly string[]) {}

    /** @throws {ArmtError} if one is not a folder */
    static async open(folders: readonly string[]): Promise<DocumentFolders> {
        const real: string[] = [];
        for (const folder of folders) {
            const found = await realpath(folder).catch((error: unknown) => {
                throw new ArmtError(`cannot use the folder ${quote(folder)}: ${systemErrorText(error)}`);
            });
            if (!(await stat(found)).isDirectory()) throw new ArmtError(`${quote(folder)} is not a folder`);
            real.push(found);
        }
        return new DocumentFolders(real);
    }

    get list(): readonly string[] {
        return this.folders;
    }

    /**
     * The real path of a document. A relative path is looked up in each folder.
     * @throws {ArmtError} if the file is missing or is outside of the folders, also through a link
     */
    async find(file: string): Promise<string> {
        if (this.folders.length === 0)
            throw new ArmtError("this server reads no files; send the text, or start it with --documents FOLDER");
        for (const folder of this.folders) {
            const found = await realpath(path.resolve(folder, file)).catch(() => undefined);
            if (found !== undefined && this.folders.some((allowed) => isInside(allowed, found))) return found;
        }
        const places = this.folders.map((folder) => quote(folder)).join(", ");
        throw new ArmtError(`cannot find ${quote(file)} in ${places}, the folders that may be read`);
    }
}

function isInside(folder: string, file: string): boolean {
    const relative = path.relative(folder, file);
    return relative !== "" && relative !== ".." && !relative.startsWith(`..${path.sep}`) && !path.isAbsolute(relative);
}
