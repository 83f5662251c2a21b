// Pictures and folders on their way to the program: what they become, and what is refused.
import { ask } from "./elements.js";

// Sends [class, file] each, as one change. Sentences about what is refused go to `problems`.
export async function upload(files, problems, progress) {
  const batch = Math.random().toString(36).slice(2), refused = new Set(), into = new Set();
  let read = 0;
  for (const [number, [to, file]] of files.entries()) {
    if (refused.has(to)) continue;
    progress(`Reading picture ${number + 1} of ${files.length} …`);
    try {
      const headers = { "x-name": encodeURIComponent(file.name), "x-class": encodeURIComponent(to), "x-batch": batch };
      await ask("upload", { method: "POST", body: file, headers });
      read += 1;
      if (to) into.add(to);
    } catch (error) {
      problems.push(error.message);
      if (error.message.startsWith("class: ")) refused.add(to); // as one sentence, not one for each picture
    }
  }
  return { read, into: [...into] };
}

// [path, file] of folders as [class, file]: one is a class of its name, and has no folders in it.
export function byClass(found, problems) {
  const nested = new Map(), of_system = /^(\.|__macosx$|thumbs\.db$|desktop\.ini$)/i, files = [];
  for (const [path, file] of found) {
    const [name, part, deeper] = path.split("/");
    if (part == null) files.push(["", file]); // where no folder can be chosen, files can
    else if (of_system.test(part)) continue;
    else if (deeper != null || !file) nested.set(name, part);
    else files.push([name, file]);
  }
  for (const [name, part] of nested) problems.push(`${name}: has folders in it, such as ${part}; drop or choose those, as each folder becomes one class.`);
  return files.filter(([name]) => !nested.has(name));
}
// What a dropped folder has right in it, as [path, file]; file is null for a folder.
async function inside(folder) {
  const reader = folder.createReader(), found = [];
  for (let some; (some = await new Promise((yes, no) => reader.readEntries(yes, no))).length;) found.push(...some);
  return Promise.all(found.map(async (one) => [`${folder.name}/${one.name}`, one.isFile ? await new Promise((yes, no) => one.file(yes, no)) : null]));
}
// What dropped folders hold, as [class, file].
export async function inFolders(folders, problems) {
  const files = [];
  for (const folder of folders) {
    try {
      const found = await inside(folder), some = byClass(found, problems);
      if (!some.length && found.every(([, file]) => file)) problems.push(`${folder.name}: has no pictures in it.`);
      files.push(...some);
    } catch (error) {
      problems.push(`${folder.name}: cannot be read (${error.message})`);
    }
  }
  return files;
}
