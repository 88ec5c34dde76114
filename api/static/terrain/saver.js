// Sends changed weights to the server: a moment after the last change, one request at a time, and again after a failure.

import { effect } from "../vendor/preact/preact.js";

const quietMs = 250;

/**
 * @param {import("./store.js").Store} store
 * @param {(adjustments: Record<string, number>) => Promise<unknown>} send
 */
export function createSaver(store, send) {
  let sent = store.stored.peek();
  let timer = 0;
  /** @type {Promise<void> | null} */
  let running = null;

  const changes = () => {
    const now = store.stored.peek();
    return Object.fromEntries(store.hills.flatMap((hill, i) => (now[i] === sent[i] ? [] : [[String(hill.id), now[i]]])));
  };
  const save = async () => {
    while (Object.keys(changes()).length) {
      const adjustments = changes(), now = store.stored.peek();
      store.saving.value = { kind: "saving" };
      await send(adjustments);
      sent = now;
    }
    store.saving.value = { kind: "saved" };
  };
  /** Everything is on the server when the promise is fulfilled; rejected if it could not be sent. */
  const flush = () => {
    clearTimeout(timer);
    running ??= save()
      .catch((error) => {
        store.saving.value = { kind: "failed", detail: String(error.message), retry };
        throw error;
      })
      .finally(() => (running = null));
    return running;
  };
  const retry = () => void flush().catch(() => {}); // the state says what failed
  effect(() => {
    if (store.stored.value === sent) return;
    clearTimeout(timer);
    store.saving.value = { kind: "saving" };
    timer = window.setTimeout(retry, quietMs);
  });
  addEventListener("beforeunload", (event) => {
    if (Object.keys(changes()).length) event.preventDefault();
  });
  return { flush };
}
