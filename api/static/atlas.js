// A notice at the bottom of Embedding Atlas: WebGPU is unavailable, or a newer snapshot was published.

const { dataset, version } = document.querySelector("script[data-dataset]").dataset;
const map = new URL(`../../map/${encodeURIComponent(dataset)}`, location.href);

async function poll() {
  try {
    const now = await (await fetch(`${map}/current.json`)).json();
    if (now.version && now.version !== version) {
      showNotice(`Snapshot ${now.snapshot} is available (${now.rows.toLocaleString()} records). Open it`, () => location.reload());
      return;
    }
  } catch { /* the server may be restarting: the next poll tries again */ }
  setTimeout(poll, document.hidden ? 60000 : 10000);
}

// Embedding Atlas draws points with WebGPU and 16-bit shaders, which many machines lack.
async function canDraw() {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  return Boolean(adapter?.features.has("shader-f16"));
}

function showNotice(text, action) {
  document.querySelector("#runatlas-notice")?.remove();
  const notice = document.createElement("button");
  notice.id = "runatlas-notice";
  notice.textContent = text;
  Object.assign(notice.style, {
    position: "fixed", bottom: "14px", left: "50%", transform: "translateX(-50%)", zIndex: 1000, padding: "8px 16px",
    border: "0", borderRadius: "18px", background: "#2f62d9", color: "#fff", font: "13px system-ui, sans-serif", cursor: "pointer",
    boxShadow: "0 6px 24px #0005",
  });
  notice.onclick = action;
  document.body.append(notice);
}

if (!(await canDraw())) showNotice("WebGPU is unavailable. Open the WebGL map", () => { location.href = map; });
setTimeout(poll, 10000);
