/** Where in a catalog something is wrong. */
export type Path = (string | number)[];
/** Tells what is wrong there, in a sentence for whoever writes catalogs. */
export type Report = (path: Path, message: string) => void;
