// A line at the foot of Embedding Atlas: where this browser can't draw its map, and when a newer snapshot is there.

const { dataset, version } = document.querySelector("script[data-dataset]").dataset;
const map = new URL(`../../map/${encodeURIComponent(dataset)}`, location.href);

async function look() {
  try {
    const now = await (await fetch(`${map}/current.json`)).json();
    if (now.version && now.version !== version) {
      tell(`Snapshot ${now.snapshot} is there (${now.rows.toLocaleString()} records): show it`, () => location.reload());
      return;
    }
  } catch { /* the server may be restarting; ask again later */ }
  setTimeout(look, document.hidden ? 60000 : 10000);
}

// Embedding Atlas draws points with WebGPU and 16-bit shaders, which many machines lack.
async function canDraw() {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  return Boolean(adapter?.features.has("shader-f16"));
}

function tell(text, act) {
  document.querySelector("#runatlas-line")?.remove();
  const line = document.createElement("button");
  line.id = "runatlas-line";
  line.textContent = text;
  Object.assign(line.style, {
    position: "fixed", bottom: "14px", left: "50%", transform: "translateX(-50%)", zIndex: 1000, padding: "8px 16px",
    border: "0", borderRadius: "18px", background: "#2f62d9", color: "#fff", font: "13px system-ui, sans-serif", cursor: "pointer",
    boxShadow: "0 6px 24px #0005",
  });
  line.onclick = act;
  document.body.append(line);
}

if (!(await canDraw())) tell("This browser can't draw Embedding Atlas' map: open the light one", () => { location.href = map; });
setTimeout(look, 10000);
