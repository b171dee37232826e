// The script of a page of runs.

// --- all runs

function explore({ columns, settings, metrics, first }) {
  const form = document.getElementById("explore-form");
  const plot = document.getElementById("explore-plot");
  const names = [...settings, ...metrics];
  const all = columns.folder.map((_, i) => i);
  let left = all;
  // What some runs lack would leave them out of the plot; a choice of a group says more than an option of one.
  const everywhere = settings.filter((name) => columns[name].every((value) => value !== null));
  const telling = (found) => found.find((name) => !name.includes(".")) ?? found[0];
  option(form.elements.x, names, everywhere.includes("layers") ? "layers" : telling(everywhere) ?? settings[0] ?? names[0]);
  option(form.elements.y, metrics, metrics.includes(first) ? first : metrics[0]);
  const others = (found) => found.filter((name) => name !== form.elements.x.value);
  const coloured = others(settings).find((name) => !name.includes(".")) ?? others(everywhere)[0];
  option(form.elements.colour, ["nothing", ...settings], coloured ?? "nothing");

  function draw() {
    const [x, y, colour] = ["x", "y", "colour"].map((name) => form.elements[name].value);
    const groups = colour === "nothing" ? [["runs", left]] : grouped(left, (i) => columns[colour][i]);
    const traces = groups.map(([name, rows], i) => ({
      type: "scatter",
      mode: "markers",
      name: plain(short(name)),
      x: rows.map((row) => (typeof columns[x][row] === "string" ? plain(columns[x][row]) : columns[x][row])),
      y: rows.map((row) => columns[y][row]),
      text: rows.map((row) => ["folder", ...settings].map((key) => `${plain(key)}: ${plain(columns[key][row] ?? "")}`).join("<br>")),
      hovertemplate: `%{text}<br><b>${plain(y)}: %{y:.4f}</b><extra></extra>`,
      marker: marker(i, 9),
    }));
    const type = columns[x].every((value) => value === null || typeof value === "number") ? "linear" : "category";
    const legend = groups.length > 1 && groups.length <= MOST_NAMES;
    Plotly.react(plot, traces, layout({
      showlegend: legend,
      legend: { title: { text: plain(colour) } },
      xaxis: { title: { text: plain(x) }, type },
      yaxis: { title: { text: plain(y) } },
    }), PLOT);
  }

  // The table tells which rows its filters leave.
  const tables = Object.keys(window).find((name) => /^_itables_\d/.test(name));
  Promise.resolve(tables && window[tables]).then((module) => {
    if (!module) return;
    const table = module.jQuery("#runs-table");
    table.on("draw.dt", () => {
      left = table.DataTable().rows({ search: "applied" }).indexes().toArray();
      draw();
    });
  });
  form.addEventListener("change", draw);
  redraw.push(draw);
}

// --- the images of a run

function gallery(shown) {
  const sides = { before: "baseline", after: "edited" };
  const labelled = shown.labels !== null;
  const className = (i) => (labelled ? shown.classes[shown.labels[i]] : null);
  const clusterOf = (side, i) => (shown[side].cluster[i] < 0 ? "noise" : shown[side].cluster[i]);

  function picture(i) {
    if (!shown.thumbnails) return document.createTextNode(shown.ids[i]);
    return sharp(shown.thumbnails[i], shown.ids[i]);
  }

  function tile(i) {
    const about = [shown.ids[i], className(i), shown.left[i] ? "changed cluster" : null, `moved ${shown.moved[i]}`];
    const title = about.filter((text) => text !== null).join(", ");
    return make("button", { type: "button", class: shown.left[i] ? "tile left" : "tile", title, "aria-label": title, onclick: () => open(i) }, picture(i));
  }

  const tiles = (list) => make("div", { class: "tiles" }, ...list.map(tile));

  function open(i) {
    const details = make("dl", { class: "details" });
    const detail = (name, text) => details.append(make("dt", {}, name), make("dd", {}, String(text)));
    if (labelled) detail("class", className(i));
    for (const [side, name] of Object.entries(sides)) detail(`cluster, ${name}`, clusterOf(side, i));
    detail("changed cluster", shown.left[i] ? "yes" : "no");
    detail("moved", `${shown.moved[i]} (cosine distance)`);
    const among = shown.ids.length < shown.n ? `, among the ${shown.ids.length} images shown` : "";
    const near = Object.entries(sides).flatMap(([side, name]) => [
      make("h4", {}, `Nearest in the ${name} embeddings${among}`), tiles(shown[side].near[i])]);
    openDialog(shown.ids[i], make("div", { class: "one" }, ...(shown.thumbnails ? [picture(i)] : []), details), ...near);
  }

  // --- clusters

  const form = document.getElementById("clusters-form");
  const list = document.getElementById("cluster-list");
  const panel = document.getElementById("cluster");
  const share = (part, whole) => `${Math.round((100 * part) / whole)} %`;
  const classes = (cluster) => cluster.top.map(([name, count]) => `${name}: ${share(count, cluster.size)}`).join(", ");
  const told = (cluster) => [(cluster.words || []).join(", "), classes(cluster)].filter(Boolean).join("; ");
  const ROWS = {
    central: "Most central",
    doubtful: "Most doubtful: another centroid is nearly as near",
    moved: "Moved farthest by the edit",
  };

  const called = (cluster) => (cluster.number < 0 ? "Noise: in no cluster" : `Cluster ${cluster.number}`);

  function show(cluster, button) {
    for (const other of list.children) other.setAttribute("aria-pressed", String(other === button));
    const heading = make("h3", {}, called(cluster));
    const changed = cluster.left ? `; ${cluster.left} changed cluster (marked)` : "";
    panel.replaceChildren(heading, make("p", { class: "note" }, `${cluster.size} images${changed}. ${told(cluster)}`));
    for (const [row, title] of Object.entries(ROWS)) {
      if (cluster[row].length) panel.append(make("h4", {}, title), tiles(cluster[row]));
    }
    if (!cluster.rest.length) return;
    const more = make("details", {}, make("summary", {}, `${cluster.rest.length} more of its images`));
    more.addEventListener("toggle", () => more.children.length < 2 && more.append(tiles(cluster.rest)), { once: true });
    panel.append(more);
  }

  function clusters() {
    const side = form.elements.side.value;
    const apart = (cluster) => (cluster.number < 0 ? 1 : 0); // noise comes last, however much there is
    const buttons = [...shown[side].clusters].sort((a, b) => apart(a) - apart(b) || b.size - a.size).map((cluster) => {
      const button = make("button", { type: "button", "aria-pressed": "false" },
        make("b", {}, called(cluster)), make("span", {}, String(cluster.size)), make("small", {}, told(cluster)));
      button.addEventListener("click", () => show(cluster, button));
      return button;
    });
    list.replaceChildren(...buttons);
    buttons[0].click();
  }
  form.addEventListener("change", clusters);
  list.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const next = step && [...list.children][[...list.children].indexOf(document.activeElement) + step];
    if (!next) return;
    event.preventDefault();
    next.focus();
    next.click();
  });
  clusters();

  // --- embeddings

  const { rows, axes, ...points } = shown.points;
  const plot = document.getElementById("points-plot");
  const controls = document.getElementById("points-form");
  const colours = {
    class: labelled ? className : null,
    "cluster, edited": (i) => clusterOf("after", i),
    "cluster, baseline": (i) => clusterOf("before", i),
    "changed cluster": (i) => (shown.left[i] ? "yes" : "no"),
  };
  option(controls.elements.colour, Object.keys(colours).filter((name) => colours[name]));

  function draw() {
    const narrow = plot.clientWidth < 640; // then one above the other
    const groups = grouped(rows.keys(), (j) => colours[controls.elements.colour.value](rows[j]));
    const traces = groups.flatMap(([name, some], i) => Object.keys(sides).map((side, panel) => ({
      type: "scatter",
      mode: "markers",
      name: plain(short(name)),
      legendgroup: String(i),
      showlegend: panel === 0,
      x: some.map((j) => points[side][0][j]),
      y: some.map((j) => points[side][1][j]),
      xaxis: panel ? "x2" : "x",
      yaxis: panel ? "y2" : "y",
      customdata: some.map((j) => rows[j]),
      text: some.map((j) => [shown.ids[rows[j]], className(rows[j])].filter((text) => text !== null).map(plain).join("<br>")),
      hovertemplate: "%{text}<extra></extra>",
      marker: marker(i, 6),
    })));
    const titles = Object.values(sides).map((text, panel) => ({ text, showarrow: false, xref: "paper", yref: "paper",
      x: narrow ? 0.5 : panel ? 0.76 : 0.24, y: narrow && panel ? 0.44 : 1, yanchor: "bottom", yshift: 4 }));
    Plotly.react(plot, traces, layout({
      showlegend: groups.length <= MOST_NAMES,
      annotations: titles,
      legend: narrow ? { orientation: "h" } : { itemsizing: "constant" },
      xaxis: { domain: narrow ? [0, 1] : [0, 0.485], anchor: "y", title: { text: narrow ? "" : axes[0] } },
      yaxis: { domain: narrow ? [0.54, 1] : [0, 1], anchor: "x", title: { text: axes[1] } },
      xaxis2: { domain: narrow ? [0, 1] : [0.515, 1], anchor: "y2", matches: "x", title: { text: axes[0] } },
      yaxis2: { domain: narrow ? [0, 0.44] : [0, 1], anchor: "x2", matches: "y", showticklabels: narrow },
    }), PLOT).then(() => {
      plot.removeAllListeners("plotly_click");
      plot.on("plotly_click", (event) => open(event.points[0].customdata));
    });
  }
  controls.addEventListener("change", draw);
  redraw.push(draw);
}

if (document.getElementById("explore")) explore(data.explore);
if (data.gallery) gallery(data.gallery);
