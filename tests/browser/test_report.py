"""Opens a report in Chromium and checks that people can read it.

    CANDOR_REPORT_OUT=out cargo run -p candor-report --example render
    python tests/browser/test_report.py out/report.html --screenshots out/shots

At the width of a phone and of a laptop, in light and in dark: no console error, no horizontal
overflow, no plot without marks, no request but the file itself, and text that stands out from its
background. Needs `pip install playwright` and a Chromium (`--chromium`, default /usr/bin/chromium).
"""

import argparse
import pathlib
import sys

from playwright.sync_api import sync_playwright

WIDTHS = {"phone": (390, 844), "laptop": (1280, 900)}
# Fewest drawn marks of each plot that can be a plot of anything.
PLOTS = {"roc": 3, "histogram": 6, "layers": 3, "divergence": 3, "reliability": 6}
# WCAG 2.2 AA, for text of ordinary size.
MIN_CONTRAST = 4.5

MEASURE = """() => {
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const over = (top, under) => {
    const alpha = top.length > 3 ? top[3] : 1;
    return [0, 1, 2].map(i => alpha * top[i] + (1 - alpha) * under[i]);
  };
  const rgb = text => text.startsWith('color(srgb')
    ? parse(text.slice(10)).map((v, i) => i < 3 ? 255 * v : v) : parse(text);
  const background = element => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.push(rgb(getComputedStyle(e).backgroundColor));
    const page = rgb(getComputedStyle(document.body).backgroundColor);
    return layers.reverse().reduce((under, top) => over(top, under), page);
  };
  const luminance = c => {
    const [r, g, b] = c.slice(0, 3).map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
    return (high + 0.05) / (low + 0.05);
  };
  const box = e => { const r = e.getBoundingClientRect(); return [r.width, r.height]; };
  const texts = [...document.querySelectorAll('h1, h2, h3, p, li, td, th, dt, dd, figcaption, pre, .token')]
    .filter(e => e.textContent.trim() && box(e)[0] > 2);
  const root = document.documentElement;
  return {
    scroll: [root.scrollWidth, root.clientWidth],
    wide: [...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > root.clientWidth + 1
      && !e.closest('thead')).slice(0, 5).map(e => e.outerHTML.slice(0, 120)),
    plots: Object.fromEntries([...document.querySelectorAll('svg.plot')].map(svg => [svg.id, {
      box: box(svg),
      marks: [...svg.querySelectorAll('.mark')].filter(m => { const [w, h] = box(m); return w > 0 || h > 0; }).length,
      title: svg.querySelector('title')?.textContent ?? '',
      smallest: Math.min(...[...svg.querySelectorAll('text')].map(t => box(t)[1])),
      outside: [...svg.querySelectorAll('text')].filter(t => {
        const [a, b] = [t.getBoundingClientRect(), svg.getBoundingClientRect()];
        return a.left < b.left - 1 || a.right > b.right + 1 || a.top < b.top - 1 || a.bottom > b.bottom + 1;
      }).map(t => t.textContent),
    }])),
    tokens: document.querySelectorAll('.tokens .token[title]').length,
    pale: texts.map(e => [contrast(rgb(getComputedStyle(e).color), background(e)), e.textContent.trim().slice(0, 40)])
      .filter(([c]) => c < %s).slice(0, 5),
  };
}""" % MIN_CONTRAST


def check(page, report, name, scheme, screenshots):
    """Returns what is wrong with the report at one width and in one colour scheme."""
    problems, requests = [], []
    page.on("console", lambda message: problems.append(f"console {message.type}: {message.text}") if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: problems.append(f"page error: {error}"))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(report.as_uri(), wait_until="load")
    found = page.evaluate(MEASURE)
    if screenshots:
        page.screenshot(path=str(screenshots / f"{name}-{scheme}.png"), full_page=True)

    scroll, client = found["scroll"]
    if scroll > client or found["wide"]:
        problems.append(f"horizontal overflow: {scroll} > {client}: {found['wide']}")
    if set(found["plots"]) != set(PLOTS):
        problems.append(f"plots {sorted(found['plots'])}, expected {sorted(PLOTS)}")
    for plot, least in PLOTS.items():
        seen = found["plots"].get(plot)
        if seen is None:
            continue
        if min(seen["box"]) < 100:
            problems.append(f"plot {plot} is {seen['box']} px")
        if seen["marks"] < least:
            problems.append(f"plot {plot} has {seen['marks']} marks, expected at least {least}")
        if seen["smallest"] < 10:
            problems.append(f"plot {plot} has text {seen['smallest']:.1f} px high")
        if seen["outside"]:
            problems.append(f"plot {plot} has text outside its picture: {seen['outside']}")
        if not seen["title"]:
            problems.append(f"plot {plot} has no title")
    if found["tokens"] == 0:
        problems.append("no token with a number")
    for contrast, text in found["pale"]:
        problems.append(f"contrast {contrast:.1f} below {MIN_CONTRAST}: {text!r}")
    external = [url for url in requests if url != report.as_uri()]
    if external:
        problems.append(f"requests {external}")
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=pathlib.Path)
    parser.add_argument("--screenshots", type=pathlib.Path, help="folder for pictures of every width and scheme")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    arguments = parser.parse_args()
    report = arguments.report.resolve(strict=True)
    if arguments.screenshots:
        arguments.screenshots.mkdir(parents=True, exist_ok=True)

    n_problems = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=arguments.chromium, args=["--no-sandbox", "--disable-gpu"])
        for name, (width, height) in WIDTHS.items():
            for scheme in ("light", "dark"):
                page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
                problems = check(page, report, name, scheme, arguments.screenshots)
                page.close()
                n_problems += len(problems)
                print(f"{name} {scheme}: {'ok' if not problems else ''}")
                for problem in problems:
                    print(f"  {problem}")
        browser.close()
    return 1 if n_problems else 0


if __name__ == "__main__":
    sys.exit(main())
