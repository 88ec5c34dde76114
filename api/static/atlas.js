// A line at the foot of Embedding Atlas when a newer snapshot is there; reloading keeps what its address remembers.

const { dataset, version } = document.querySelector("script[data-dataset]").dataset;
const address = new URL(`../../map/${encodeURIComponent(dataset)}/current.json`, location.href);

async function look() {
  try {
    const now = await (await fetch(address)).json();
    if (now.version && now.version !== version) { tell(now); return; }
  } catch { /* the server may be restarting; ask again later */ }
  setTimeout(look, document.hidden ? 60000 : 10000);
}

function tell({ snapshot, rows }) {
  const line = document.createElement("button");
  line.textContent = `Snapshot ${snapshot} is there (${rows.toLocaleString()} records): show it`;
  Object.assign(line.style, {
    position: "fixed", bottom: "14px", left: "50%", transform: "translateX(-50%)", zIndex: 1000, padding: "8px 16px",
    border: "0", borderRadius: "18px", background: "#2f62d9", color: "#fff", font: "13px system-ui, sans-serif", cursor: "pointer",
    boxShadow: "0 6px 24px #0005",
  });
  line.onclick = () => location.reload();
  document.body.append(line);
}

setTimeout(look, 10000);
