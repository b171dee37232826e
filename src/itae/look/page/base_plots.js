// The plots of a knowledge base's page: how it grew, and a map of its rows.

function growth({ versions, rows: after, verbs, colours, about, why, start }) {
  const plot = document.getElementById("growth-plot");
  const flat = (text) => plain(String(text).replace(/\s+/g, " ").trim());
  const folded = (text) => (flat(text).match(/.{1,60}(\s|$)|.{1,60}/g) ?? []).slice(0, 4).join("<br>");
  const line = { type: "scatter", mode: "lines", hoverinfo: "skip", showlegend: false, x: [versions[0] - 1, ...versions], y: [start, ...after] };
  const draw = () => {
    const marks = grouped(versions.keys(), (i) => verbs[i]).map(([verb, some]) => ({
      type: "scatter",
      mode: "markers",
      name: plain(short(verb)),
      x: some.map((i) => versions[i]),
      y: some.map((i) => after[i]),
      text: some.map((i) => [`<b>${flat(short(verbs[i]))}</b>, ${flat(about[i])}`, folded(why[i])].filter(Boolean).join("<br>")),
      hovertemplate: "version %{x}: %{y:,} rows<br>%{text}<extra></extra>",
      marker: { color: colours[verb], size: 9 },
    }));
    const faint = getComputedStyle(document.documentElement).getPropertyValue("--faint");
    Plotly.react(plot, [{ ...line, line: { color: faint, shape: "hv", width: 1.5 } }, ...marks], layout({
      showlegend: true,
      legend: { orientation: "h", y: 1.12, yanchor: "bottom" },
      xaxis: { title: { text: "version" }, tickformat: "d", ...(versions.length < 12 ? { dtick: 1 } : {}), rangemode: "tozero" },
      yaxis: { title: { text: "rows" }, rangemode: "tozero" },
      margin: { l: 60, r: 20, t: 40, b: 56 },
    }), PLOT);
  };
  redraw.push(draw);
}

function map({ rows: drawn, x, y, axes }) {
  const plot = document.getElementById("map-plot");
  const form = document.getElementById("map-form");
  const peek = document.body.appendChild(make("div", { id: "peek", "aria-hidden": "true", hidden: true }));
  const colours = {
    label: called,
    source: (i) => rows.names[rows.sources[i]],
    suspects: (i) => (suspectOf.has(i) ? "suspect" : "no suspect"),
  };
  option(form.elements.colour, Object.keys(colours).filter((name) => name !== "suspects" || data.suspects.length));

  function look({ points, event }) {
    const i = points[0].customdata;
    peek.replaceChildren(picture(i), make("b", {}, called(i)), make("span", {}, rows.ids[i]));
    peek.hidden = false;
    peek.style.left = `${Math.max(8, Math.min(event.clientX + 14, innerWidth - peek.offsetWidth - 8))}px`;
    peek.style.top = `${Math.max(8, Math.min(event.clientY + 14, innerHeight - peek.offsetHeight - 8))}px`;
  }

  function draw() {
    const groups = grouped(drawn.keys(), (j) => colours[form.elements.colour.value](drawn[j]));
    const traces = groups.map(([name, some], i) => ({
      type: "scatter",
      mode: "markers",
      name: plain(short(name)),
      x: some.map((j) => x[j]),
      y: some.map((j) => y[j]),
      customdata: some.map((j) => drawn[j]),
      hoverinfo: "none",
      marker: marker(i, 7),
    }));
    const narrow = plot.clientWidth < 640;
    Plotly.react(plot, traces, layout({
      showlegend: groups.length <= MOST_NAMES,
      legend: narrow ? { orientation: "h" } : { itemsizing: "constant" },
      xaxis: { title: { text: narrow ? "" : plain(axes[0]) } },
      yaxis: { title: { text: narrow ? "" : plain(axes[1]) } },
    }), PLOT).then(() => {
      plot.removeAllListeners("plotly_click");
      plot.on("plotly_click", (event) => { peek.hidden = true; open(event.points[0].customdata); });
      plot.on("plotly_hover", look);
      plot.on("plotly_unhover", () => { peek.hidden = true; });
    });
  }
  form.addEventListener("change", draw);
  redraw.push(draw);
}
