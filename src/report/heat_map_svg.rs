//! A token heat map as a picture of its own, for a README.
//!
//! A picture on a web page sees neither the page's style nor, on GitHub, which theme is in use: so
//! it carries its colours and is made once for each theme.

use candor_schema::{TokenLogit, TokenTrace};

use crate::colour::{mix, strength};
use crate::heat_map::limit_of;
use crate::markup::Markup;
use crate::number::signed;

const WIDTH: f64 = 840.0;
const MARGIN: f64 = 20.0;
const FONT_SIZE: f64 = 15.0;
/// Advance of one column of a monospaced font, as a share of its size.
const COLUMN: f64 = 0.6 * FONT_SIZE;
const LINE: f64 = 27.0;
/// Columns that fit between the margins.
const N_COLUMNS: usize = 88;

/// The background that a picture is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// Dark text on white.
    Light,
    /// Light text on black.
    Dark,
}

/// Colours as red, green, blue.
struct Palette {
    background: [u8; 3],
    ink: [u8; 3],
    muted: [u8; 3],
    low: [u8; 3],
    high: [u8; 3],
    span: [u8; 3],
}

impl Theme {
    fn palette(self) -> Palette {
        match self {
            Self::Light => Palette {
                background: [255, 255, 255],
                ink: [26, 29, 33],
                muted: [87, 96, 106],
                low: [120, 182, 230],
                high: [245, 158, 72],
                span: [26, 29, 33],
            },
            Self::Dark => Palette {
                background: [13, 17, 23],
                ink: [240, 243, 246],
                muted: [158, 167, 178],
                low: [24, 100, 171],
                high: [166, 76, 9],
                span: [240, 243, 246],
            },
        }
    }
}

/// Draws replies token by token as one standalone SVG document, orange for more deceptive.
///
/// All replies share one scale, symmetric about logit 0.
pub fn heat_map_svg(traces: &[TokenTrace], theme: Theme) -> String {
    let palette = theme.palette();
    let colour = |channel: [u8; 3]| mix(channel, channel, 0.0);
    let (ink, muted) = (colour(palette.ink), colour(palette.muted));
    let limit = limit_of(traces);

    let mut body = Markup::new();
    let mut y = MARGIN + FONT_SIZE;
    for trace in traces {
        let heading = format!("{} reply", trace.label);
        put(&mut body, (MARGIN, y), &ink, true, &heading);
        let after = MARGIN + COLUMN * (columns(&heading) + 2) as f64;
        let logit = format!("pooled logit {}", signed(trace.logit));
        put(&mut body, (after, y), &muted, false, &logit);
        y += LINE + 2.0;
        for line in wrap(&trace.tokens, N_COLUMNS) {
            let mut x = MARGIN;
            for piece in line {
                let width = COLUMN * columns(&piece.text) as f64;
                let strength = strength(piece.logit, limit);
                let end = if strength < 0.0 {
                    palette.low
                } else {
                    palette.high
                };
                let fill = mix(palette.background, end, strength.abs());
                draw_token(
                    &mut body,
                    (x, y),
                    width,
                    &fill,
                    &piece,
                    &ink,
                    &colour(palette.span),
                );
                x += width;
            }
            y += LINE;
        }
        y += 14.0;
    }
    draw_legend(&mut body, y, limit, &palette);
    let height = y + MARGIN;

    let mut svg = Markup::new();
    svg.open(
        "svg",
        &[
            ("xmlns", "http://www.w3.org/2000/svg"),
            ("viewBox", &format!("0 0 {WIDTH} {height:.0}")),
            ("width", &WIDTH.to_string()),
            ("height", &format!("{height:.0}")),
            ("role", "img"),
            (
                "font-family",
                "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace",
            ),
            ("font-size", &FONT_SIZE.to_string()),
        ],
    );
    svg.element(
        "title",
        &[],
        "Token heat map: orange tokens read as more deceptive, blue ones as less",
    );
    let background = colour(palette.background);
    svg.leaf(
        "rect",
        &[
            ("width", "100%"),
            ("height", "100%"),
            ("rx", "8"),
            ("fill", &background),
        ],
    );
    svg.piece(&body).raw("</svg>\n");
    svg.into_string()
}

/// A token, or as much of one as fits on a line.
struct Piece {
    text: String,
    logit: f64,
    in_span: bool,
}

/// Breaks tokens into lines: at line breaks, before a token that does not fit, and inside one
/// that is longer than a line.
fn wrap(tokens: &[TokenLogit], n_columns: usize) -> Vec<Vec<Piece>> {
    let mut lines: Vec<Vec<Piece>> = vec![Vec::new()];
    let mut used = 0;
    for token in tokens {
        let shown = token.text.replace('\n', "⏎").replace('\t', "→");
        if used > 0 && used + columns(&shown) > n_columns {
            lines.push(Vec::new());
            used = 0;
        }
        // The space that leads a word says nothing at the start of a line.
        let shown = if used == 0 {
            shown.trim_start()
        } else {
            &shown
        };
        let mut text = String::new();
        let mut pieces = Vec::new();
        for c in shown.chars() {
            if used + width_of(c) > n_columns {
                pieces.push(std::mem::take(&mut text));
                used = 0;
            }
            used += width_of(c);
            text.push(c);
        }
        pieces.push(text);
        let n_pieces = pieces.len();
        for (index, text) in pieces.into_iter().enumerate() {
            if !text.is_empty() {
                let piece = Piece {
                    text,
                    logit: token.logit,
                    in_span: token.in_span,
                };
                if let Some(line) = lines.last_mut() {
                    line.push(piece);
                }
            }
            if index + 1 < n_pieces {
                lines.push(Vec::new());
            }
        }
        if token.text.contains('\n') {
            lines.push(Vec::new());
            used = 0;
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
}

/// Columns of a terminal that a character takes: two for East Asian wide ones and emoji.
fn width_of(c: char) -> usize {
    let wide = matches!(c,
        '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}' | '\u{1f300}'..='\u{1faff}' | '\u{20000}'..='\u{3fffd}'
    );
    1 + usize::from(wide)
}

fn columns(text: &str) -> usize {
    text.chars().map(width_of).sum()
}

fn draw_token(
    svg: &mut Markup,
    (x, y): (f64, f64),
    width: f64,
    fill: &str,
    piece: &Piece,
    ink: &str,
    underline: &str,
) {
    let place = |value: f64| format!("{value:.1}");
    svg.raw("<g>")
        .element("title", &[], &format!("logit {}", signed(piece.logit)));
    svg.leaf(
        "rect",
        &[
            ("x", &place(x)),
            ("y", &place(y - FONT_SIZE - 1.0)),
            ("width", &place(width - 0.6)),
            ("height", &place(LINE - 5.0)),
            ("rx", "2"),
            ("fill", fill),
        ],
    );
    // The width is stated, so that another monospaced font than ours still fills its boxes. Spaces
    // at the ends would be dropped by some renderers: text starts after them.
    let lead = piece.text.chars().take_while(|c| *c == ' ').count();
    let word = piece.text.trim();
    if !word.is_empty() {
        svg.element(
            "text",
            &[
                ("x", &place(x + COLUMN * lead as f64)),
                ("y", &place(y)),
                ("fill", ink),
                ("textLength", &place(COLUMN * columns(word) as f64)),
                ("lengthAdjust", "spacingAndGlyphs"),
            ],
            word,
        );
    }
    if piece.in_span {
        let (from, line_y) = (place(x), place(y + 4.0));
        let to = place(x + width);
        svg.leaf(
            "line",
            &[
                ("x1", &from),
                ("y1", &line_y),
                ("x2", &to),
                ("y2", &line_y),
                ("stroke", underline),
                ("stroke-width", "2"),
            ],
        );
    }
    svg.close("g");
}

fn draw_legend(svg: &mut Markup, y: f64, limit: f64, palette: &Palette) {
    let muted = mix(palette.muted, palette.muted, 0.0);
    let low = format!("less deceptive {}", signed(-limit));
    put(svg, (MARGIN, y), &muted, false, &low);
    let mut x = MARGIN + COLUMN * (columns(&low) + 1) as f64;
    for step in -6_i32..=6 {
        let share = f64::from(step) / 6.0;
        let end = if share < 0.0 {
            palette.low
        } else {
            palette.high
        };
        let fill = mix(palette.background, end, share.abs());
        let (left, top) = (format!("{x:.1}"), format!("{:.1}", y - FONT_SIZE + 2.0));
        svg.leaf(
            "rect",
            &[
                ("x", &left),
                ("y", &top),
                ("width", "12"),
                ("height", "16"),
                ("fill", &fill),
            ],
        );
        x += 12.0;
    }
    let high = format!("{} more deceptive", signed(limit));
    put(svg, (x + COLUMN, y), &muted, false, &high);
    put(
        svg,
        (WIDTH - MARGIN - 26.0 * COLUMN, y),
        &muted,
        false,
        "underlined: labelled span",
    );
}

fn put(svg: &mut Markup, (x, y): (f64, f64), fill: &str, bold: bool, words: &str) {
    let weight = if bold { "bold" } else { "normal" };
    let (x, y) = (format!("{x:.1}"), format!("{y:.1}"));
    let width = format!("{:.1}", COLUMN * columns(words) as f64);
    svg.element(
        "text",
        &[
            ("x", &x),
            ("y", &y),
            ("fill", fill),
            ("font-weight", weight),
            ("textLength", &width),
            ("lengthAdjust", "spacingAndGlyphs"),
        ],
        words,
    );
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::evaluation::tests::example;

    #[test]
    fn both_replies_and_both_themes_are_drawn() {
        let traces = example().traces;
        let (light, dark) = (
            heat_map_svg(&traces, Theme::Light),
            heat_map_svg(&traces, Theme::Dark),
        );
        assert_ne!(light, dark);
        for svg in [&light, &dark] {
            assert!(svg.starts_with("<svg xmlns=") && svg.ends_with("</svg>\n"));
            assert!(svg.contains("honest reply") && svg.contains("deceptive reply"));
            assert!(svg.matches("<rect").count() > 60);
        }
    }

    #[test]
    fn hostile_tokens_stay_text() {
        let mut traces = example().traces;
        traces[0].tokens[0].text = String::from("</text><script>alert(1)</script>");
        let svg = heat_map_svg(&traces, Theme::Light);
        assert!(!svg.contains("<script") && svg.contains("&lt;script&gt;"));
    }

    #[test]
    fn no_traces_are_a_legend_alone() {
        assert!(heat_map_svg(&[], Theme::Dark).contains("labelled span"));
    }

    proptest! {
        #[test]
        fn lines_fit_and_lose_only_white_space(texts in proptest::collection::vec("[ a-z\\n是]{0,12}", 0..30), n_columns in 2_usize..40) {
            let tokens: Vec<TokenLogit> = texts.iter().map(|text| TokenLogit { text: text.clone(), logit: 0.0, in_span: false }).collect();
            let lines = wrap(&tokens, n_columns);
            let mut kept = String::new();
            for line in &lines {
                let text: String = line.iter().map(|piece| piece.text.as_str()).collect();
                prop_assert!(columns(&text) <= n_columns, "{}", text);
                kept.push_str(&text);
            }
            let bare = |text: &str| text.replace(['\n', '⏎', ' '], "");
            prop_assert_eq!(bare(&kept), bare(&texts.concat()));
        }
    }
}
