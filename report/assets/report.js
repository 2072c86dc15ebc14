// Draws the charts of a report and keeps them in step with theme and paper.
(() => {
  "use strict";
  const root = document.documentElement;
  const systemDark = window.matchMedia("(prefers-color-scheme: dark)");
  const stored = () => {
    try { return localStorage.getItem("iol-theme"); } catch { return null; }
  };
  let chosen = stored();
  let printing = false;

  const applyTheme = () => {
    const dark = !printing && (chosen ? chosen === "dark" : systemDark.matches);
    root.dataset.theme = dark ? "dark" : "light";
  };
  applyTheme();

  const data = JSON.parse(document.getElementById("chart-data").textContent);
  // Shape and dash carry the same information as colour.
  const shapes = ["circle", "triangle", "rectRounded", "rectRot", "star", "cross", "rect", "crossRot"];
  const dashes = [[], [6, 4], [], [2, 3], [10, 4], [6, 2, 2, 2], [], [1, 2]];
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
  const charts = [];

  const dataset = (series, type) => {
    const index = series.subject % 8;
    const tone = colour("--s" + index);
    const base = { label: series.label, borderColor: tone, backgroundColor: tone };
    if (type === "ladder") {
      const tones = series.values.map((_, rung) => colour("--s" + (rung % 8)));
      return { ...base, data: series.values, backgroundColor: tones, borderRadius: 4, maxBarThickness: 30, borderWidth: 0 };
    }
    if (type === "bars") {
      return { ...base, data: series.values, borderRadius: 4, maxBarThickness: 46, borderWidth: 0 };
    }
    const line = { ...base, borderWidth: 2.25, borderDash: dashes[index], pointStyle: shapes[index], spanGaps: true };
    if (type === "line") return { ...line, data: series.values, pointRadius: 5, pointHoverRadius: 7, tension: 0.15 };
    const points = series.points.map(([x, y]) => ({ x, y }));
    if (type === "rates") return { ...line, data: points, pointRadius: 4, pointHoverRadius: 6 };
    return { ...line, data: points, pointRadius: 0, pointHitRadius: 8, stepped: type === "cdf" ? "before" : false };
  };

  const axis = (title, extra) => ({
    title: { display: true, text: title, color: colour("--soft") },
    ticks: { color: colour("--soft"), maxRotation: 0 },
    grid: { color: colour("--line"), drawBorder: false, drawTicks: false },
    ...extra,
  });
  const numeric = (title, extra) => {
    const result = axis(title, extra);
    result.ticks = { ...result.ticks, padding: 6, callback: (value) => short.format(value) };
    return result;
  };

  /** Ticks of a logarithmic axis at 1, 2 and 5 of every decade only; the rest would overlap. */
  const logarithmic = (title) => {
    const result = numeric(title, { type: "logarithmic" });
    result.ticks.autoSkip = false;
    result.ticks.callback = (value) => {
      const lead = Math.round(value / 10 ** Math.floor(Math.log10(value) + 1e-9));
      return [1, 2, 5].includes(lead) ? short.format(value) : "";
    };
    return result;
  };

  const scalesOf = (chart) => {
    const values = chart.series.flatMap((series) => series.values || series.points.map((p) => p[1])).filter((v) => v > 0);
    // Above a factor of 30 the smaller lines would lie on the axis.
    const wide = chart.type !== "time" && Math.max(...values) / Math.min(...values) > 30;
    if (chart.type === "ladder") {
      return { x: numeric(chart.x_title, { beginAtZero: true, grace: "5%" }), y: axis("", { grid: { display: false } }) };
    }
    if (chart.type === "cdf") {
      return { x: logarithmic(chart.x_title), y: numeric(chart.y_title, { min: 0, max: 100 }) };
    }
    const y = wide ? logarithmic(chart.y_title + " (logarithmic)") : numeric(chart.y_title, { beginAtZero: true });
    const x = ["time", "rates"].includes(chart.type) ? numeric(chart.x_title, { type: "linear" }) : axis(chart.x_title, { grid: { display: false }, offset: true });
    return { x, y };
  };

  /** Writes each rung's number and gain at the end of its bar. */
  const barNotes = (notes) => ({
    id: "bar-notes",
    afterDatasetsDraw(drawn) {
      const { ctx } = drawn;
      ctx.save();
      ctx.fillStyle = colour("--ink");
      ctx.font = `600 ${Chart.defaults.font.size}px ${Chart.defaults.font.family}`;
      ctx.textBaseline = "middle";
      drawn.getDatasetMeta(0).data.forEach((bar, rung) => ctx.fillText(notes[rung], bar.x + 6, bar.y));
      ctx.restore();
    },
  });

  const draw = (canvas, chart) => new Chart(canvas, {
    type: ["bars", "ladder"].includes(chart.type) ? "bar" : "line",
    plugins: chart.notes ? [barNotes(chart.notes)] : [],
    data: { labels: chart.categories, datasets: chart.series.map((series) => dataset(series, chart.type)) },
    options: {
      animation: false,
      indexAxis: chart.type === "ladder" ? "y" : "x",
      layout: { padding: { right: chart.notes ? 7.5 * Chart.defaults.font.size : 0 } }, // where the longest bar's note goes
      responsive: true,
      maintainAspectRatio: false,
      interaction: { mode: ["cdf", "time", "rates"].includes(chart.type) ? "nearest" : "index", intersect: false },
      scales: scalesOf(chart),
      plugins: {
        legend: { display: chart.type !== "ladder", position: "bottom", labels: { color: colour("--ink"), usePointStyle: true, boxHeight: printing ? 5 : 7, padding: printing ? 8 : 16 } },
        tooltip: { callbacks: { label: (item) => ` ${item.dataset.label}: ${short.format(item.parsed[chart.type === "ladder" ? "x" : "y"])}` } },
      },
    },
  });

  const drawAll = () => {
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    Chart.defaults.font.size = printing ? 9 : 12;
    charts.splice(0).forEach((chart) => chart.destroy());
    for (const [id, chart] of Object.entries(data)) {
      const canvas = document.getElementById(id);
      if (canvas) charts.push(draw(canvas, chart));
    }
  };

  const refresh = () => { applyTheme(); drawAll(); };
  document.getElementById("theme").addEventListener("click", () => {
    chosen = root.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("iol-theme", chosen); } catch { /* private window: this page only */ }
    refresh();
  });
  systemDark.addEventListener("change", refresh);

  // On paper: light, everything unfolded, charts at the width of the column.
  let folded = [];
  window.addEventListener("beforeprint", () => {
    printing = true;
    folded = [...document.querySelectorAll("details:not([open])")];
    folded.forEach((element) => { element.open = true; });
    refresh();
    charts.forEach((chart) => chart.resize(330, 200));
  });
  window.addEventListener("afterprint", () => {
    printing = false;
    folded.forEach((element) => { element.open = false; });
    refresh();
  });
  drawAll();
})();
