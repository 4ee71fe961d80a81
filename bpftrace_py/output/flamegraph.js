(function () {
  "use strict";
  var svg = document.documentElement, group = document.getElementById("frames");
  var total = +group.dataset.total || 1, letter = +group.dataset.letter, indent = +group.dataset.indent;
  var details = document.getElementById("details"), summary = details.textContent, matched = document.getElementById("matched");
  var unzoom = document.getElementById("unzoom"), search = document.getElementById("search");
  var margin = 10, space = svg.viewBox.baseVal.width - 2 * margin;
  var frames = Array.prototype.map.call(group.querySelectorAll(".f"), function (element) {
    var title = element.querySelector("title").textContent;
    return {
      element: element, text: element.querySelector("text"), title: title,
      name: title.slice(0, title.lastIndexOf(" (")).replace(/ \[kernel\]$/, ""),
      row: +element.dataset.row, begin: +element.dataset.begin, length: +element.dataset.length
    };
  });

  function label(name, width) {
    var most = Math.floor((width - indent) / letter);
    return name.length <= most ? name : most >= 3 ? name.slice(0, most - 2) + ".." : "";
  }

  // Shows the stacks that go through a frame, as wide as the picture.
  function zoom(to) {
    var scale = space / (to.length || 1), end = to.begin + to.length;
    frames.forEach(function (frame) {
      var caller = frame.row < to.row && frame.begin <= to.begin && frame.begin + frame.length >= end;
      var inside = frame.row >= to.row && frame.begin >= to.begin && frame.begin + frame.length <= end;
      var width = caller ? space : frame.length * scale;
      frame.element.style.display = caller || inside ? "" : "none";
      if (!caller && !inside) return;
      frame.element.setAttribute("x", caller ? margin : margin + (frame.begin - to.begin) * scale);
      frame.element.setAttribute("width", width);
      frame.element.classList.toggle("caller", caller);
      frame.text.textContent = label(frame.name, width);
    });
    unzoom.style.visibility = to.row > 0 ? "visible" : "hidden";
  }

  // Marks the frames whose names fit, and tells the share of the stacks that have one of them.
  function find(pattern) {
    var expression = null, end = -1, sum = 0;
    if (pattern) {
      try { expression = new RegExp(pattern); }
      catch (error) { expression = new RegExp(pattern.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")); }
    }
    var hits = frames.filter(function (frame) {
      var fits = expression !== null && frame.row > 0 && expression.test(frame.name);
      frame.element.classList.toggle("match", fits);
      return fits;
    });
    hits.sort(function (a, b) { return a.begin - b.begin || b.length - a.length; });
    hits.forEach(function (frame) {
      if (frame.begin >= end) { sum += frame.length; end = frame.begin + frame.length; }
    });
    matched.textContent = expression ? "matched: " + (100 * sum / total).toFixed(2) + " %" : "";
    search.textContent = expression ? "Reset search" : "Search";
  }

  function ask() {
    if (matched.textContent) { find(""); return; }
    find(window.prompt("Functions to look for (a regular expression)") || "");
  }

  function of(event) {
    var element = event.target.closest && event.target.closest(".f");
    return element && frames.filter(function (frame) { return frame.element === element; })[0];
  }

  group.addEventListener("click", function (event) { var frame = of(event); if (frame) zoom(frame); });
  group.addEventListener("mouseover", function (event) { var frame = of(event); if (frame) details.textContent = label(frame.title, space - 240); });
  group.addEventListener("mouseout", function () { details.textContent = summary; });
  unzoom.addEventListener("click", function () { zoom(frames[0]); });
  search.addEventListener("click", ask);
  window.addEventListener("keydown", function (event) {
    if (event.key === "Escape") { zoom(frames[0]); find(""); }
    if (event.key === "/" || (event.key === "f" && (event.ctrlKey || event.metaKey))) { event.preventDefault(); ask(); }
  });
  search.style.visibility = "visible";
}());
