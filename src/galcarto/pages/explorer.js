"use strict";
// The explorer: decodes the arrays in this page, draws them with Plotly and handles the selection.
// Text from files is set by textContent, or passed through plain() where Plotly would interpret markup.
(async () => {
  const $ = (id) => document.getElementById(id);
  const about = JSON.parse($("about").textContent);
  const [rows, columns, bins] = [about.b.length - 1, about.l.length - 1, about.distance.length - 1];
  const outer = about.distance.slice(1);
  const middle = (edges) => edges.slice(1).map((edge, i) => (edge + edges[i]) / 2);
  const [l, b] = [middle(about.l), middle(about.b)]; // centres of the tiles
  const buttons = (...names) => ({
    displaylogo: false,
    displayModeBar: true,
    responsive: true,
    modeBarButtons: [names],
    toImageButtonOptions: { format: "svg" },
  });
  const [map, graph] = [
    buttons("toImage", "zoom2d", "pan2d", "resetScale2d"),
    buttons("toImage", "zoom2d", "resetScale2d"),
  ];

  // ---- formatting

  const element = (kind, textContent, rest = {}) =>
    Object.assign(document.createElement(kind), { textContent, ...rest });
  const label = (id, text) => $(id).setAttribute("aria-label", text);
  const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;");
  const minus = (text) => text.replace("-", "−");
  const fixed = (value, digits) => (Number.isFinite(value) ? minus(value.toFixed(digits)) : "none");
  const turn = (longitude) => ((longitude % 360) + 360) % 360;
  // decimals needed for the tiles' centres
  const decimals = Math.min(
    4,
    Math.max(...[...l, ...b].map((value) => `${+value.toFixed(4)}`.split(".")[1]?.length ?? 0)),
  );
  const place = (tile) => ({ l: turn(l[Math.floor(tile / rows)]), b: b[tile % rows] });
  const named = (tile) => `l = ${fixed(place(tile).l, decimals)}°, b = ${fixed(place(tile).b, decimals)}°`;
  const distanceDecimals = Math.max(1, ...outer.map((value) => `${+value.toFixed(3)}`.split(".")[1]?.length ?? 0));
  const kpc = (value) => `${fixed(value, distanceDecimals)} kpc`;

  // ---- packed arrays, see galcarto.pages.explorer

  async function inflate(id) {
    const binary = atob($(id).textContent);
    const bytes = new Uint8Array(binary.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  async function unpack(name) {
    const { shape, bytes, step, power, differences } = about.arrays[name];
    const planes = await inflate(`array-${name}`);
    const size = shape.reduce((product, length) => product * length, 1);
    const numbers = bytes === 1 ? planes : new Uint16Array(size);
    if (bytes === 2) for (let i = 0; i < size; i++) numbers[i] = planes[i] | (planes[size + i] << 8);
    if (differences) {
      const length = shape[shape.length - 1];
      for (let i = 0; i < size; i++) if (i % length) numbers[i] += numbers[i - 1]; // wraps around
    }
    const missing = 2 ** (8 * bytes) - 1;
    return (i) => (numbers[i] === missing ? NaN : (numbers[i] * step) ** power);
  }

  async function library() {
    const script = document.createElement("script");
    script.textContent = new TextDecoder().decode(await inflate("library"));
    document.head.append(script);
  }

  const data = {};
  try {
    await Promise.all([
      library(),
      ...Object.keys(about.arrays).map(async (name) => {
        data[name] = await unpack(name);
      }),
    ]);
  } catch (error) {
    $("notice").textContent =
      `This page could not be unpacked (${error.message}). It needs a browser of 2023 or later.`;
    throw error;
  }
  const profile = (name, tile) => Array.from({ length: bins }, (_, k) => data[name](tile * bins + k));

  // ---- selection

  const of = Object.fromEntries(
    Object.entries(about.tiles).map(([name, values]) => [name, values.map((v) => v ?? NaN)]),
  );
  const observed = (tile) => !Number.isNaN(data.extinction(tile * bins));
  const chosen = { tile: -1, bin: Math.floor((bins - 1) / 2) };

  const nearest = (at, among) => {
    let [best, least] = [0, Infinity];
    for (const tile of among) {
      const aside = ((place(tile).l - at.l + 540) % 360) - 180;
      const away = Math.hypot(aside * Math.cos((at.b * Math.PI) / 180), place(tile).b - at.b);
      if (away < least) [best, least] = [tile, away];
    }
    return best;
  };
  const all = [...of.quality.keys()];
  const binOf = (distance) => {
    const bin = outer.findIndex((edge) => edge >= distance - 1e-6);
    return bin < 0 ? bins - 1 : bin;
  };

  // ---- colours

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const palette = () => $("palette").value;
  const lowest = { Viridis: "#440154", Cividis: "#00224e", Magma: "#000004" };
  const MAGMA = [
    "#000004",
    "#180f3d",
    "#440f76",
    "#721f81",
    "#9e2f7f",
    "#cd4071",
    "#f1605d",
    "#fd9668",
    "#feca8d",
    "#fcfdbf",
  ];
  const scale = () => (palette() === "Magma" ? MAGMA.map((colour, i) => [i / 9, colour]) : palette());
  const DIFFERENCE = [
    [0, "#2166ac"],
    [0.25, "#92c5de"],
    [0.5, "#f7f7f7"],
    [0.75, "#f4a582"],
    [1, "#b2182b"],
  ];

  function layout(x, y, rest = {}) {
    const axis = {
      gridcolor: css("missing"),
      linecolor: css("line"),
      zerolinecolor: css("missing"),
      ticks: "outside",
      tickcolor: css("line"),
      showline: true,
      mirror: true,
      automargin: true,
      title: { standoff: 6 },
    };
    return {
      margin: { l: 48, r: 8, t: 26, b: 40 },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: css("line"), activecolor: css("text") },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: css("page"),
      showlegend: false,
      font: { family: "system-ui, sans-serif", size: 12, color: css("text") },
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
      xaxis: { ...axis, ...x, title: { ...axis.title, text: x.title } },
      yaxis: { ...axis, ...y, title: { ...axis.title, text: y.title } },
      hoverlabel: { font: { size: 12 } },
      ...rest,
    };
  }

  const bare = { showgrid: false, zeroline: false, constrain: "domain" }; // an axis of an image
  const note = (text) => ({ text, showarrow: false, xref: "paper", yref: "paper", x: 0.5, y: 0.5 });
  const bar = (title, more = {}) => ({
    title: { text: title, side: "right" },
    thickness: 12,
    outlinewidth: 0,
    ...more,
  });

  // a logarithmic colour bar at 1, 2, 5, 10, ... in plain numbers
  function decades(low, high) {
    const values = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
      for (const digit of [1, 2, 5]) {
        const value = digit * 10 ** power;
        if (value >= low * 0.999 && value <= high * 1.001) values.push(value);
      }
    }
    const few = values.length > 7 ? values.filter((value) => /^1e/.test(value.toExponential())) : values;
    return { tickvals: few.map(Math.log10), ticktext: few.map((value) => `${+value.toPrecision(2)}`) };
  }

  // height for a map of this aspect ratio, so that its colour bar is as high as the map
  const fit = (id, shape) => {
    $(id).style.maxHeight = `${Math.max(190, ($(id).clientWidth - 140) * shape + 70)}px`;
  };

  // values of an image; NaN is omitted, zeros are drawn as `least`
  const logarithms = (image, least) =>
    image.map((row) => row.map((value) => (Number.isNaN(value) ? null : Math.log10(Math.max(value, least)))));

  const percentile = (values, share) => {
    const sorted = values.filter(Number.isFinite).sort((one, other) => one - other);
    return sorted.length ? sorted[Math.floor(share * (sorted.length - 1))] : 1;
  };

  // ---- the plane of the sky

  const error = (i) => 0.5 * (data.extinction_high68(i) - data.extinction_low68(i));
  const quantities = {
    extinction: {
      at: (tile, k) => data.extinction(tile * bins + k),
      title: "A<sub>V</sub> (mag)",
      digits: 2,
      moves: true,
      caption: (k) => `Extinction from the Sun to ${kpc(outer[k])}`,
    },
    density: {
      at: (tile, k) => data.extinction_density(tile * bins + k),
      title: "dA<sub>V</sub>/ds (mag kpc<sup>−1</sup>)",
      digits: 2,
      moves: true,
      caption: (k) => `Mean density between ${fixed(about.distance[k], distanceDecimals)} and ${kpc(outer[k])}`,
    },
    error: {
      at: (tile, k) => error(tile * bins + k),
      title: "error of A<sub>V</sub> (mag)",
      digits: 2,
      moves: true,
      caption: (k) => `Half of the central 68 % interval of the extinction to ${kpc(outer[k])}`,
    },
    distance_max: {
      at: (tile) => of.distance_max[tile],
      title: "kpc",
      digits: 2,
      caption: () => "Greatest distance at which stars constrain the dust",
    },
    fit_chi2: {
      at: (tile) => of.fit_chi2[tile],
      title: "chi2 over chance",
      digits: 2,
      most: 5, // larger values are all bad fits
      caption: () => "Chi2 of the observed diagram over what chance makes: 1 where the posterior predicts it",
    },
    out_of_distribution: {
      at: (tile) => of.out_of_distribution[tile],
      title: "share of mocks",
      digits: 3,
      caption: () => "Fraction of training-like mocks that look less unusual to the network",
    },
  };
  // the same upper limit at all distances: the 99.5th percentile
  const ceilings = {};
  function ceiling(name) {
    if (!(name in ceilings)) {
      const every = Math.ceil((all.length * bins) / 200000); // stride over tiles: enough to find the scale
      const some = all.filter((tile) => tile % every === 0);
      const values = some.flatMap((tile) => outer.map((_, k) => quantities[name].at(tile, k)));
      ceilings[name] = percentile(values, 0.995) || 1;
    }
    return ceilings[name];
  }

  const trusted = (tile, k) => outer[k] >= of.distance_min[tile] - 1e-6 && outer[k] <= of.distance_max[tile] + 1e-6;
  // the trusted distances show where stars run out
  const serious = about.flags
    .filter((flag) => flag.meaning !== "stars_run_out_before_the_last_bin")
    .reduce((sum, flag) => sum | flag.mask, 0);
  const doubtful = (tile, k) => observed(tile) && (!trusted(tile, k) || (of.quality[tile] & serious) !== 0);

  const longitudes = () => {
    if (about.l[0] >= 0 && about.l[columns] <= 360) return {};
    const span = about.l[columns] - about.l[0];
    const step = [1, 2, 5, 10, 20, 30, 60].find((one) => span / one <= 8) ?? 60;
    const ticks = [];
    for (let at = Math.ceil(about.l[0] / step) * step; at <= about.l[columns]; at += step) ticks.push(at);
    return { tickvals: ticks, ticktext: ticks.map((at) => `${turn(at)}`) };
  };

  function drawSky() {
    const name = $("quantity").value;
    const quantity = quantities[name];
    const values = all.map((tile) => quantity.at(tile, chosen.bin));
    const grid = (make) => b.map((_, row) => l.map((_, column) => make(column * rows + row)));
    const greatest = Math.min(percentile(values, 1), quantity.most ?? Infinity) || 1;
    const top = quantity.moves && $("fixed").checked ? ceiling(name) : greatest;
    const gaps = all.filter((tile) => !observed(tile));
    const crosses = $("crosses").checked ? all.filter((tile) => doubtful(tile, chosen.bin)) : [];
    const marks = (tiles, marker) => ({
      type: "scatter",
      mode: "markers",
      hoverinfo: "skip",
      marker,
      x: tiles.map((tile) => l[Math.floor(tile / rows)]),
      y: tiles.map((tile) => b[tile % rows]),
    });
    const pixels = $("sky-plot").clientWidth / columns;
    const size = Math.max(3, Math.min(10, 0.4 * pixels));
    const [column, row] = [Math.floor(chosen.tile / rows), chosen.tile % rows];
    const [x0, x1, y0, y1] = [about.l[column], about.l[column + 1], about.b[row], about.b[row + 1]];
    const frame = (color, width) => ({ type: "rect", x0, x1, y0, y1, line: { color, width } });
    const traces = [
      {
        type: "heatmap",
        x: about.l,
        y: about.b,
        z: grid((tile) => (Number.isFinite(values[tile]) ? values[tile] : null)),
        zmin: 0,
        zmax: top,
        text: grid(
          (tile) =>
            `${named(tile)}<br>${observed(tile) ? `${quantity.title}: ${fixed(values[tile], quantity.digits)}` : "not observed"}`,
        ),
        hovertemplate: "%{text}<extra></extra>",
        colorscale: scale(),
        colorbar: bar(quantity.title),
      },
      marks(gaps, { symbol: "line-ne", size: size * 1.4, line: { color: css("hatch"), width: 1 } }),
      marks(crosses, { symbol: "x", size, color: "#fff", line: { color: "#000", width: 1 } }),
    ];
    $("sky-caption").textContent = [
      quantity.caption(chosen.bin),
      ...(gaps.length ? ["hatched: not observed"] : []),
      ...(values.some((value) => value > top) ? ["some tiles are off the scale"] : []),
    ].join("; ");
    // a strip as high as it is would be a line
    const shape = (about.b[rows] - about.b[0]) / (about.l[columns] - about.l[0]);
    const strip = shape < 0.15;
    fit("sky-plot", strip ? 0.3 : shape);
    Plotly.react(
      "sky-plot",
      traces,
      layout(
        {
          title: "Galactic longitude l (deg)",
          range: [about.l[columns], about.l[0]],
          ...bare,
          constraintoward: "right",
          ...longitudes(),
        },
        {
          title: strip ? "b (deg), stretched" : "Latitude b (deg)",
          range: [about.b[0], about.b[rows]],
          ...(strip ? {} : { scaleanchor: "x" }),
          ...bare,
          constraintoward: "top",
        },
        { plot_bgcolor: css("missing"), shapes: [frame("#000", 5), frame("#fff", 2.5)], uirevision: "sky" },
      ),
      map,
    );
  }

  // ---- face-on

  const faceon = about.y
    .slice(1)
    .map((_, row) => about.x.slice(1).map((_, column) => data.faceon(row * (about.x.length - 1) + column)));
  const positive = faceon.flat().filter((value) => value > 0);
  const brightest = percentile(positive, 1);
  const faintest = Math.max(percentile(positive, 0), brightest / 300);

  // the view contains the Sun and a margin for marks
  const ends = [about.x, about.y].map((edges) => [Math.min(0, edges[0]), Math.max(0, edges[edges.length - 1])]);
  const room = 0.06 * Math.max(...ends.map(([low, high]) => high - low));
  const ranges = ends.map(([low, high]) => [low - room, high + room]);

  function drawFaceon() {
    const { l: longitude, b: latitude } = place(chosen.tile);
    const [angle, shrink] = [(longitude * Math.PI) / 180, Math.cos((latitude * Math.PI) / 180)];
    const reach = outer[bins - 1];
    const arc = (radius, from, to) => {
      const angles = Array.from({ length: 61 }, (_, i) => ((from + ((to - from) * i) / 60) * Math.PI) / 180);
      return [angles.map((a) => radius * Math.cos(a)), angles.map((a) => radius * Math.sin(a))];
    };
    const line = (x, y, color, width, dash) => ({
      type: "scatter",
      mode: "lines",
      x,
      y,
      hoverinfo: "skip",
      line: { color, width, dash },
    });
    const both = (x, y) => [line(x, y, "#000", 4), line(x, y, "#fff", 2)];
    const [x, y] = [Math.cos(angle) * shrink, Math.sin(angle) * shrink];
    const step = [0.1, 0.25, 0.5, 1, 2, 5].find((one) => reach / one <= 5.01) ?? 10; // kpc between rings
    const rings = Array.from({ length: Math.floor(reach / step + 0.001) }, (_, i) => (i + 1) * step);
    const traces = [
      {
        type: "heatmap",
        x: about.x,
        y: about.y,
        z: logarithms(faceon, faintest),
        zmin: Math.log10(faintest),
        zmax: Math.log10(brightest),
        customdata: faceon,
        colorscale: scale(),
        hoverongaps: false,
        colorbar: bar("dA<sub>V</sub>/ds (mag kpc<sup>−1</sup>)", decades(faintest, brightest)),
        hovertemplate: "x = %{x:.2f} kpc, y = %{y:.2f} kpc<br>%{customdata:.2f} mag kpc<sup>−1</sup><extra></extra>",
      },
      ...rings.map((radius) => line(...arc(radius, about.l[0], about.l[columns]), css("quiet"), 0.8, "dot")),
      ...both([0, reach * x], [0, reach * y]),
      ...both(...arc(outer[chosen.bin] * shrink, about.l[0], about.l[columns])),
      {
        type: "scatter",
        mode: "markers",
        x: [outer[chosen.bin] * x],
        y: [outer[chosen.bin] * y],
        hoverinfo: "skip",
        marker: { size: 11, color: "#fff", line: { color: "#000", width: 2 } },
      },
      {
        type: "scatter",
        mode: "markers",
        x: [0],
        y: [0],
        hoverinfo: "skip",
        marker: { size: 9, symbol: "star", color: css("text") },
      },
    ];
    // outside the map, next to its edge
    const rim = (about.l[columns] * Math.PI) / 180;
    const aside = { xshift: -12 * Math.sin(rim), yshift: 12 * Math.cos(rim) };
    const notes = rings.map((radius) => ({
      x: radius * Math.cos(rim),
      y: radius * Math.sin(rim),
      ...aside,
      text: `${+radius.toFixed(2)}`,
      showarrow: false,
      font: { size: 10, color: css("quiet") },
    }));
    // on the side away from the map
    const ahead = (((about.l[0] + about.l[columns]) / 2) * Math.PI) / 180;
    const away = { xshift: Math.cos(ahead) > 0 ? 18 : -18, yshift: Math.sin(ahead) > 0 ? -8 : 8 };
    notes.push({ x: 0, y: 0, text: "Sun", showarrow: false, font: { size: 11 }, ...away });
    fit("faceon-plot", (ranges[1][1] - ranges[1][0]) / (ranges[0][1] - ranges[0][0]));
    Plotly.react(
      "faceon-plot",
      traces,
      layout(
        { title: "x, to the Galactic centre (kpc)", ...bare, constraintoward: "right", range: ranges[0] },
        { title: "y, to l = 90° (kpc)", scaleanchor: "x", ...bare, constraintoward: "top", range: ranges[1] },
        { plot_bgcolor: css("missing"), annotations: notes, uirevision: "faceon" },
      ),
      map,
    );
    const [there, here] = [outer[chosen.bin] * x, outer[chosen.bin] * y];
    label(
      "faceon-plot",
      `Density of the dust seen from the north Galactic pole, up to ${fixed(brightest, 2)} mag per kpc; ` +
        `the sightline at ${kpc(outer[chosen.bin])} is at x = ${fixed(there, 2)}, y = ${fixed(here, 2)} kpc`,
    );
  }

  // ---- the profile

  function drawProfile() {
    const name = document.querySelector("input[name=profile]:checked").value;
    const cumulative = name === "extinction";
    // extinction is defined at the outer edges of bins, and 0 at the Sun; density is constant within bins
    const x = cumulative ? about.distance : about.distance.slice(0, -1).flatMap((edge, k) => [edge, outer[k]]);
    const line = (key) => {
      const values = profile(key, chosen.tile);
      return cumulative ? [0, ...values] : values.flatMap((value) => [value, value]);
    };
    const known = observed(chosen.tile);
    const band = (level, opacity, label) => [
      {
        type: "scatter",
        mode: "lines",
        x,
        y: line(`${name}_low${level}`),
        line: { width: 0 },
        hoverinfo: "skip",
        showlegend: false,
      },
      {
        type: "scatter",
        mode: "lines",
        x,
        y: line(`${name}_high${level}`),
        line: { width: 0 },
        hoverinfo: "skip",
        fill: "tonexty",
        fillcolor: `rgba(${css("band")},${opacity})`,
        name: label,
      },
    ];
    const unit = cumulative ? "mag" : "mag kpc<sup>−1</sup>";
    const traces = known
      ? [
          ...band(95, 0.22, "95 %"),
          ...band(68, 0.42, "68 %"),
          {
            type: "scatter",
            mode: "lines",
            x,
            y: line(name),
            line: { color: css("mean"), width: 2 },
            name: "mean",
            hovertemplate: `%{x} kpc: %{y:.3f} ${unit}<extra></extra>`,
          },
        ]
      : [];
    if (cumulative && data.truth) {
      traces.push({
        type: "scatter",
        mode: "lines",
        x,
        y: line("truth"),
        name: "truth",
        line: { color: css("truth"), width: 2, dash: "dash" },
        hoverinfo: "skip",
      });
    }
    const [near, far] = [of.distance_min[chosen.tile], of.distance_max[chosen.tile]];
    const shade = (x0, x1) => ({
      type: "rect",
      yref: "paper",
      x0,
      x1,
      y0: 0,
      y1: 1,
      layer: "below",
      line: { width: 0 },
      fillcolor: css("missing"),
    });
    const mark = (at, color, width, dash) => ({
      type: "line",
      yref: "paper",
      x0: at,
      x1: at,
      y0: 0,
      y1: 1,
      line: { color, width, dash },
    });
    const ends = known && Number.isFinite(near) ? [near, far] : [];
    // cumulative curves end high, densities low
    const clear = cumulative ? { y: 0, yanchor: "bottom" } : { y: 1, yanchor: "top" };
    const untrusted = ends.length ? [shade(0, near), shade(far, outer[bins - 1])] : [shade(0, outer[bins - 1])];
    const shapes = [
      ...untrusted,
      ...ends.map((at) => mark(at, css("quiet"), 1, "dot")),
      mark(outer[chosen.bin], css("mark"), 1.5),
    ];
    Plotly.react(
      "profile-plot",
      traces,
      layout(
        { title: "Distance from the Sun (kpc)", range: [0, outer[bins - 1]] },
        {
          title: cumulative ? "A<sub>V</sub> from the Sun (mag)" : "dA<sub>V</sub>/ds (mag kpc<sup>−1</sup>)",
          rangemode: "tozero",
        },
        {
          shapes,
          annotations: known ? [] : [note("not observed: no values")],
          showlegend: true,
          hovermode: "x",
          legend: { x: 1, xanchor: "right", ...clear, bgcolor: "rgba(0,0,0,0)" },
          uirevision: `${name} ${chosen.tile}`,
        },
      ),
      graph,
    );
    const last = fixed(data.extinction(chosen.tile * bins + bins - 1), 2);
    const summary = `extinction grows to ${last} mag at ${kpc(outer[bins - 1])}; a table below holds every value`;
    label("profile-plot", `Profile of ${named(chosen.tile)}: ${known ? summary : "not observed"}`);
  }

  // ---- the diagrams

  function merged(name, channel, times) {
    const [, channels, height, width] = about.arrays[name].shape;
    const start = (chosen.tile * channels + channel) * height * width;
    return Array.from({ length: Math.floor(height / times) }, (_, row) =>
      Array.from({ length: Math.floor(width / times) }, (_, column) => {
        let sum = 0;
        for (let i = 0; i < times; i++)
          for (let j = 0; j < times; j++) sum += data[name](start + (row * times + i) * width + column * times + j);
        return sum;
      }),
    );
  }

  function drawDiagrams() {
    const channel = about.channels[+$("channel").value];
    const times = +$("binning").value;
    const [seen, expected] = ["observed", "predicted"].map((name) => merged(name, +$("channel").value, times));
    const known = Number.isFinite(expected[0][0]);
    const top = Math.max(2, ...seen.flat(), ...(known ? expected.flat() : []));
    const low = top > 30 ? 0.2 : 0.05;
    const [x, y] = [channel.colour_edges, channel.row_edges].map((edges) => edges.filter((_, i) => i % times === 0));
    // side by side they share the left panel's magnitudes and the middle panel's scale
    const beside = $("observed-plot").offsetTop === $("residual-plot").offsetTop;
    const axes = (id, background) =>
      layout(
        { title: plain(channel.colour), range: [x[0], x[x.length - 1]], ...bare, nticks: 6 },
        {
          title: beside && id !== "observed-plot" ? "" : plain(channel.row),
          range: channel.reversed ? [y[y.length - 1], y[0]] : [y[0], y[y.length - 1]],
          ...bare,
        },
        { plot_bgcolor: background, uirevision: channel.name },
      );
    const image = (z, customdata, more) => ({ type: "heatmap", x, y, z, customdata, hoverongaps: false, ...more });
    const stars = {
      zmin: Math.log10(low),
      zmax: Math.log10(top),
      colorscale: scale(),
      colorbar: bar("stars per pixel", decades(low, top)),
    };
    const where = "%{x:.2f}, %{y:.2f}<br>";
    const draw = (id, trace, background, words) =>
      Plotly.react(
        id,
        trace ? [trace] : [],
        { ...axes(id, trace ? background : css("missing")), annotations: trace ? [] : [note(words)] },
        graph,
      );
    const any = of.stars[chosen.tile] > 0;
    draw(
      "observed-plot",
      any &&
        image(logarithms(seen, low), seen, {
          ...stars,
          showscale: !beside,
          hovertemplate: `${where}%{customdata} stars<extra></extra>`,
        }),
      lowest[palette()],
      "no stars",
    );
    draw(
      "predicted-plot",
      known &&
        image(logarithms(expected, low), expected, {
          ...stars,
          hovertemplate: `${where}%{customdata:.2f} stars expected<extra></extra>`,
        }),
      lowest[palette()],
      "no prediction",
    );
    const excess = (value, mean) => (mean > 0.2 ? (value - mean) / Math.sqrt(mean) : null);
    const residual = seen.map((row, i) => row.map((value, j) => excess(value, expected[i][j])));
    const greatest = Math.max(...residual.flat().map(Math.abs));
    const end = Math.max(4, greatest); // the colours never saturate
    draw(
      "residual-plot",
      known &&
        image(residual, residual, {
          zmin: -end,
          zmax: end,
          colorscale: DIFFERENCE,
          colorbar: bar("Poisson errors"),
          hovertemplate: `${where}%{customdata:.1f} Poisson errors<extra></extra>`,
        }),
      css("missing"),
      "no prediction",
    );
    const sum = (values) => values.flat().reduce((total, value) => total + value, 0);
    label("observed-plot", `Observed diagram, ${channel.name}: ${sum(seen)} stars`);
    label(
      "predicted-plot",
      known ? `Predicted diagram: ${fixed(sum(expected), 0)} stars expected` : "No predicted diagram",
    );
    const most = `up to ${fixed(greatest, 1)} Poisson errors`;
    label("residual-plot", known ? `Observed less predicted: ${most}` : "No residual");
    $("residual-most").textContent = known ? `, ${most} in a pixel` : "";
  }

  // ---- text about the sightline

  function writeFacts() {
    const tile = chosen.tile;
    const at = tile * bins + chosen.bin;
    $("facts-title").textContent = named(tile);
    $("at").caption.textContent = observed(tile) ? `At ${kpc(outer[chosen.bin])}` : "Not observed: no values";
    for (const name of ["extinction", "extinction_density"]) {
      const show = (key) => fixed(data[key](at), data[name](at) < 10 ? 2 : 1);
      const mean = document.createElement("td");
      mean.append(element("data", show(name), { value: data[name](at) }));
      const intervals = [68, 95].map((level) =>
        element("td", `${show(`${name}_low${level}`)} – ${show(`${name}_high${level}`)}`),
      );
      $(`at-${name}`).replaceChildren($(`at-${name}`).cells[0], mean, ...intervals);
    }
    $("at").tBodies[0].hidden = !observed(tile);
    const near = of.distance_min[tile];
    const facts = [["Stars", `${of.stars[tile]} on ${+of.area[tile].toPrecision(3)} deg²`]];
    if (observed(tile)) {
      facts.push(
        [
          "Trusted",
          Number.isFinite(near) ? `from ${fixed(near, distanceDecimals)} to ${kpc(of.distance_max[tile])}` : "nowhere",
        ],
        [
          "Fit",
          `chi2 ${+of.fit_chi2[tile].toPrecision(3)} × expected, p = ${fixed(of.fit_p_value[tile], 3)} ` +
            `of the whole diagram (poor below ${about.poor})`,
        ],
        ["Out of distribution", `above ${(100 * of.out_of_distribution[tile]).toFixed(1)} % of mocks`],
      );
    }
    $("facts").replaceChildren(...facts.flatMap(([term, detail]) => [element("dt", term), element("dd", detail)]));
    const raised = about.flags.filter((flag) => of.quality[tile] & flag.mask).map((flag) => flag.text);
    $("flags").replaceChildren(
      ...(raised.length ? raised : ["No flag is raised"]).map((words) =>
        element("li", words, { className: raised.length ? "bad" : "good" }),
      ),
    );
    return raised;
  }

  const COLUMNS = ["extinction", "extinction_density"].flatMap((name) =>
    ["", "_low95", "_low68", "_high68", "_high95"].map((end) => name + end),
  );

  function writeTable() {
    const table = $("table");
    table.caption.textContent = named(chosen.tile);
    table.tBodies[0].replaceChildren(
      ...outer.map((edge, k) => {
        const row = document.createElement("tr");
        const cells = COLUMNS.map((name) => element("td", fixed(data[name](chosen.tile * bins + k), 3)));
        row.append(element("th", fixed(edge, distanceDecimals), { scope: "row" }), ...cells);
        return row;
      }),
    );
  }

  let csv = "";
  function csvLink() {
    // created on demand
    URL.revokeObjectURL(csv);
    const { l: longitude, b: latitude } = place(chosen.tile);
    const title = document.querySelector("h1").textContent.replace(/\s+/g, " ");
    const number = (value) => (Number.isNaN(value) ? "" : +value.toPrecision(6));
    const lines = [
      `# ${title}: l = ${longitude.toFixed(4)} deg, b = ${latitude.toFixed(4)} deg (galactic)`,
      "# distance in kpc: outer edge of the bin; extinction in mag from the Sun to there; density in mag kpc-1 in the bin",
      ["distance", ...COLUMNS].join(","),
      ...outer.map((edge, k) =>
        [edge, ...COLUMNS.map((name) => data[name](chosen.tile * bins + k))].map(number).join(","),
      ),
    ];
    csv = URL.createObjectURL(new Blob([`${lines.join("\n")}\n`], { type: "text/csv" }));
    Object.assign($("csv"), { href: csv, download: `profile_l${longitude.toFixed(3)}_b${latitude.toFixed(3)}.csv` });
  }

  let timer = 0;
  function announce(raised) {
    // when no key has been pressed for a while
    clearTimeout(timer);
    timer = setTimeout(() => {
      const at = chosen.tile * bins + chosen.bin;
      const [mean, low, high] = ["", "_low68", "_high68"].map((end) => fixed(data[`extinction${end}`](at), 2));
      const quality = raised.length ? raised.join(". ") : "No quality flag";
      const words = `extinction to ${kpc(outer[chosen.bin])} ${mean} mag, 68 % between ${low} and ${high}. ${quality}.`;
      $("live").textContent = `${named(chosen.tile)}: ${observed(chosen.tile) ? words : "not observed."}`;
    }, 250);
  }

  // ---- changing the selection

  let waiting = null; // parts to draw in the next frame
  function draw(parts) {
    if (waiting) {
      parts.forEach((part) => waiting.add(part));
      return;
    }
    waiting = new Set(parts);
    requestAnimationFrame(() => {
      const now = waiting;
      waiting = null;
      now.forEach((part) => part());
      document.documentElement.dataset.drawn = `${chosen.tile} ${chosen.bin}`; // tests wait for this
    });
  }

  function choose({ tile = chosen.tile, bin = chosen.bin }) {
    const moved = tile !== chosen.tile;
    Object.assign(chosen, { tile, bin: Math.min(bins - 1, Math.max(0, bin)) });
    const { l: longitude, b: latitude } = place(chosen.tile);
    const hash = `#l=${+longitude.toFixed(4)}&b=${+latitude.toFixed(4)}&d=${+outer[chosen.bin].toFixed(4)}`;
    history.replaceState(null, "", hash);
    $("link").href = hash;
    $("distance").value = chosen.bin;
    $("distance-shown").textContent = kpc(outer[chosen.bin]);
    $("distance").setAttribute("aria-valuetext", kpc(outer[chosen.bin]));
    [$("goto-l").value, $("goto-b").value] = [+longitude.toFixed(4), +latitude.toFixed(4)];
    announce(writeFacts());
    draw([drawSky, drawFaceon, drawProfile, ...(moved ? [drawDiagrams, writeTable] : [])]);
  }

  function fromHash() {
    const words = new URLSearchParams(location.hash.slice(1));
    const [longitude, latitude, distance] = ["l", "b", "d"].map((name) =>
      words.get(name) ? Number(words.get(name)) : NaN,
    );
    return {
      ...(Number.isFinite(longitude) && Number.isFinite(latitude)
        ? { tile: nearest({ l: longitude, b: latitude }, all) }
        : {}),
      ...(Number.isFinite(distance) ? { bin: binOf(distance) } : {}),
    };
  }

  const within = (at, edges) => at >= edges[0] - 1e-9 && at <= edges[edges.length - 1] + 1e-9;
  $("goto").addEventListener("submit", (event) => {
    event.preventDefault();
    const at = { l: +$("goto-l").value, b: +$("goto-b").value };
    const inside = [-360, 0, 360, 720].some((turns) => within(turn(at.l) + turns, about.l)) && within(at.b, about.b);
    if (inside) choose({ tile: nearest(at, all) });
    const extent = `l is ${about.l[0]}° to ${about.l[columns]}°, b is ${about.b[0]}° to ${about.b[rows]}°`;
    $("goto-l").setCustomValidity(inside ? "" : `Not in this map: ${extent}`);
    $("goto-l").reportValidity();
  });
  $("goto").addEventListener("input", () => $("goto-l").setCustomValidity(""));
  $("distance").addEventListener("input", () => choose({ bin: +$("distance").value }));
  $("quantity").addEventListener("change", () => draw([drawSky]));
  $("fixed").addEventListener("change", () => draw([drawSky]));
  $("crosses").addEventListener("change", () => draw([drawSky]));
  $("palette").addEventListener("change", () => draw([drawSky, drawFaceon, drawDiagrams]));
  $("channel").addEventListener("change", () => draw([drawDiagrams]));
  $("binning").addEventListener("change", () => draw([drawDiagrams]));
  document
    .querySelectorAll("input[name=profile]")
    .forEach((one) => one.addEventListener("change", () => draw([drawProfile])));
  $("csv").addEventListener("click", csvLink);
  addEventListener("hashchange", () => choose(fromHash()));
  addEventListener("resize", () => draw([drawSky, drawFaceon, drawDiagrams]));

  $("sky-plot").addEventListener("keydown", (event) => {
    const [column, row] = [Math.floor(chosen.tile / rows), chosen.tile % rows];
    const go = (c, r) => ({ tile: Math.min(columns - 1, Math.max(0, c)) * rows + Math.min(rows - 1, Math.max(0, r)) });
    // longitude grows to the left
    const moves = {
      ArrowLeft: () => go(column + 1, row),
      ArrowRight: () => go(column - 1, row),
      ArrowUp: () => go(column, row + 1),
      ArrowDown: () => go(column, row - 1),
      Home: () => go(columns - 1, row),
      End: () => go(0, row),
      PageUp: () => ({ bin: chosen.bin + 1 }),
      PageDown: () => ({ bin: chosen.bin - 1 }),
    };
    if (event.altKey || event.ctrlKey || event.metaKey || !(event.key in moves)) return;
    event.preventDefault();
    choose(moves[event.key]());
  });

  // ---- start

  $("notice").hidden = true;
  document.querySelector("main").hidden = false;
  document.querySelector(".grid").classList.toggle("wide", columns > 3 * rows);
  $("channel").parentElement.hidden = about.channels.length === 1;
  // few stars on fine pixels are hard to see
  const typical =
    percentile(
      of.stars.filter((stars) => stars > 0),
      0.5,
    ) / about.channels.length;
  $("binning").value = typical > 3000 ? "1" : "2";
  const centre = { l: turn((about.l[0] + about.l[columns]) / 2), b: (about.b[0] + about.b[rows]) / 2 };
  choose({ tile: nearest(centre, all.some(observed) ? all.filter(observed) : all), ...fromHash() });
  requestAnimationFrame(() => {
    $("sky-plot").on("plotly_click", ({ points: [point] }) => {
      const [row, column] = point.pointNumber;
      choose({ tile: column * rows + row });
    });
    $("faceon-plot").on("plotly_click", ({ points: [point] }) => {
      const at = { l: turn((Math.atan2(point.y, point.x) * 180) / Math.PI), b: place(chosen.tile).b };
      const shrink = Math.cos((at.b * Math.PI) / 180);
      choose({
        tile: nearest(
          at,
          all.filter((one) => place(one).b === at.b),
        ),
        bin: binOf(Math.hypot(point.x, point.y) / shrink),
      });
    });
    $("profile-plot").on("plotly_click", ({ points: [point] }) => choose({ bin: binOf(point.x) }));
  });
  const again = () => draw([drawSky, drawFaceon, drawProfile, drawDiagrams]);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
})();
