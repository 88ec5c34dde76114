// Requests to this server. Problem documents become errors with their `detail` and `status`.

export class Refused extends Error {
  /**
   * @param {string} detail
   * @param {number} status 0: no answer at all
   */
  constructor(detail, status) {
    super(detail);
    this.status = status;
  }
}

/** The address that all others are relative to; pages lie one or two levels below it. */
export const root = location.pathname.replace(/\/(terrain|map)(\/[^/]*)?\/?$/, "/");

/**
 * The JSON that the server answers.
 * @param {string} path relative to the root
 * @param {RequestInit} [options]
 */
export async function ask(path, options = {}) {
  const answer = await fetch(root + path, { ...options, headers: { accept: "application/json", ...options.headers } }).catch(() => {
    throw new Refused("The server does not answer. Is it still running?", 0);
  });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(detailOf(body, answer.status), answer.status);
  return body;
}

/**
 * The bytes that the server answers.
 * @param {string} path relative to the root
 */
export async function askBytes(path) {
  const answer = await fetch(root + path).catch(() => {
    throw new Refused("The server does not answer. Is it still running?", 0);
  });
  if (!answer.ok) throw new Refused(detailOf(await answer.json().catch(() => ({})), answer.status), answer.status);
  return answer.arrayBuffer();
}

/** The header that lets this page write where the server has a token: a page of another site cannot read it. */
async function writeHeaders() {
  const { header, token } = await ask("api/csrf");
  return /** @type {Record<string, string>} */ (token ? { [header]: token } : {});
}

/**
 * @param {string} path
 * @param {unknown} body
 * @param {string} [method]
 */
export const send = async (path, body, method = "POST") =>
  ask(path, { method, body: JSON.stringify(body), headers: { "content-type": "application/json", ...(await writeHeaders()) } });

/**
 * Saves what the server answers to a write as a file.
 * @param {string} path
 * @param {unknown} body
 * @param {string} name of the file, unless the server gives one
 */
export async function save(path, body, name) {
  const headers = { "content-type": "application/json", ...(await writeHeaders()) };
  const answer = await fetch(root + path, { method: "POST", body: JSON.stringify(body), headers }).catch(() => {
    throw new Refused("The server does not answer. Is it still running?", 0);
  });
  if (!answer.ok) throw new Refused(detailOf(await answer.json().catch(() => ({})), answer.status), answer.status);
  const given = /filename="?([^";]+)/.exec(answer.headers.get("content-disposition") ?? "");
  const url = URL.createObjectURL(await answer.blob());
  Object.assign(document.createElement("a"), { href: url, download: given?.[1] ?? name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/**
 * Uploads a form, and says how much of it has arrived; `fetch` can't say that.
 * @param {string} path
 * @param {FormData} form
 * @param {(share: number) => void} onProgress
 * @returns {{answer: Promise<any>, cancel: () => void}}
 */
export function upload(path, form, onProgress) {
  const request = new XMLHttpRequest();
  const answer = new Promise((resolve, reject) => {
    request.upload.onprogress = (event) => onProgress(event.loaded / Math.max(1, event.total));
    request.onerror = () => reject(new Refused("The upload broke off. Is the server still running?", 0));
    request.onabort = () => reject(new Refused("The upload was cancelled.", 0));
    request.onload = () => {
      const body = parsed(request.responseText);
      if (request.status < 400) resolve(body);
      else reject(new Refused(detailOf(body, request.status), request.status));
    };
    request.open("POST", root + path);
    request.setRequestHeader("accept", "application/json");
    writeHeaders().then((headers) => {
      for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
      request.send(form);
    }, reject);
  });
  return { answer, cancel: () => request.abort() };
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

/**
 * @param {{detail?: unknown, title?: unknown}} problem
 * @param {number} status
 */
const detailOf = (problem, status) => String(problem.detail ?? problem.title ?? `The server answered ${status}.`);
