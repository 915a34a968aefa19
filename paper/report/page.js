"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // Light or dark: as the system has it, until told otherwise.
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  const isDark = () => (chosen ?? (system.matches ? "dark" : "light")) === "dark";
  const paint = () => {
    root.dataset.theme = isDark() ? "dark" : "light";
    root.style.colorScheme = root.dataset.theme;
    for (const mark of all(".algorithm i")) {
      const colour = mark.dataset.colour;
      mark.style.background = isDark() ? data.on_dark[colour] : colour;
    }
    drawCurves();
    drawRun();
  };
  document.getElementById("theme").addEventListener("click", () => {
    chosen = isDark() ? "light" : "dark";
    paint();
  });
  system.addEventListener("change", paint);

  // Verdicts: one kind only, or all.
  const badges = all(".tally button");
  for (const badge of badges) {
    badge.addEventListener("click", () => {
      const isOn = badge.getAttribute("aria-pressed") === "true";
      badges.forEach((other) => other.setAttribute("aria-pressed", String(other === badge && !isOn)));
      const wanted = isOn ? null : badge.dataset.verdict;
      for (const item of all("#verdicts details")) {
        item.hidden = wanted !== null && !item.dataset.verdicts.split(" ").includes(wanted);
        if (item.classList.contains("family")) item.open = wanted !== null && !item.hidden;
      }
      for (const topic of all("#verdicts .topic")) {
        topic.hidden = all(":scope > details", topic).every((item) => item.hidden);
      }
    });
  }

  // Charts.
  const theme = () => {
    const ink = getComputedStyle(root).getPropertyValue("--ink").trim();
    const line = getComputedStyle(root).getPropertyValue("--line").trim();
    return {
      background: "transparent",
      view: { stroke: null },
      axis: { labelColor: ink, titleColor: ink, gridColor: line, domainColor: line, tickColor: line },
      title: { color: ink },
      text: { color: ink },
    };
  };
  const embed = (target, spec, signals) => {
    let text = JSON.stringify(spec);
    if (isDark()) {
      for (const [colour, paler] of Object.entries(data.on_dark)) text = text.replaceAll(`"${colour}"`, `"${paler}"`);
    }
    const drawn = JSON.parse(text);
    drawn.datasets = { points: data.points, levels: data.levels };
    for (const [name, value] of Object.entries(signals)) {
      drawn.params.find((param) => param.name === name).value = value;
    }
    return window.vegaEmbed(target, drawn, { actions: false, renderer: "svg", logLevel: 1, config: theme() });
  };

  const pickers = document.getElementById("pickers");
  let curves = null;
  const choice = () => ({
    environment: pickers.elements.environment.value,
    axis: pickers.elements.axis.value,
    axis_title: pickers.elements.axis.selectedOptions[0].textContent,
    with_seeds: pickers.elements.seeds.checked,
    shown: all("input[name=algorithm]:checked", pickers).map((box) => box.value),
  });
  const say = () => {
    const { environment, axis } = choice();
    const isThere = data.points.some((point) => point.env === environment && point[axis] !== null);
    const told = isThere ? data.notes[environment] : `No run on ${environment} has a record of ${axis}.`;
    document.getElementById("curve-note").textContent = told;
  };
  let latest = 0;
  function drawCurves() {
    if (!pickers) return;
    const number = ++latest;
    embed("#curve-chart", data.specs.curves, choice()).then((result) => {
      if (number === latest) curves = result.view;
    });
    say();
  }
  pickers?.addEventListener("change", () => {
    say();
    if (!curves) return;
    for (const [name, value] of Object.entries(choice())) curves.signal(name, value);
    curves.runAsync();
  });

  let run = null;
  function drawRun() {
    if (run === null) return;
    const { env, algorithm, seed } = data.runs[run];
    embed("#run-chart", data.specs.run, { environment: env, shown: [algorithm], seed });
  }
  for (const row of all("tr[data-run]")) {
    row.addEventListener("click", () => {
      run = Number(row.dataset.run);
      all("tr[data-run]").forEach((other) => other.setAttribute("aria-selected", String(other === row)));
      const found = data.runs[run];
      document.getElementById("run-name").textContent = `${found.name} on ${found.env}, seed ${found.seed}`;
      const list = document.getElementById("run-provenance");
      list.replaceChildren();
      for (const [name, value] of Object.entries(found.provenance)) {
        const term = document.createElement("dt");
        const told = document.createElement("dd");
        term.textContent = name;
        told.textContent = value;
        list.append(term, told);
      }
      document.getElementById("run").hidden = false;
      drawRun();
    });
  }

  document.getElementById("hyperparameter-algorithm")?.addEventListener("change", (event) => {
    for (const part of all(".hyperparameters")) part.hidden = part.dataset.algorithm !== event.target.value;
  });

  paint();
})();
