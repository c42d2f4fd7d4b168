//! Writes HTML in which every text is escaped. It knows no figure.

use std::fmt::Write as _;

use cri_gc_policy::text::one_line;

/// A text that stands for itself in HTML, in an element or a quoted attribute. Line ends and what can't be printed are replaced first, as
/// everywhere (`policy::text`).
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in one_line(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A page being written.
#[derive(Debug, Default)]
pub struct Html(String);

impl Html {
    /// What is no text of others: tags.
    pub fn raw(&mut self, tags: &'static str) {
        self.0.push_str(tags);
    }

    /// An element around a text.
    pub fn element(&mut self, tag: &'static str, text: &str) {
        // Writing to a string can't fail.
        let _ = write!(self.0, "<{tag}>{}</{tag}>", escaped(text));
    }

    /// A heading.
    pub fn heading(&mut self, text: &str) {
        self.element("h2", text);
    }

    /// A paragraph of something that an operator should see first.
    pub fn warning(&mut self, text: &str) {
        let _ = write!(self.0, "<p class=\"warning\">{}</p>", escaped(text));
    }

    /// Names and what they are.
    pub fn facts<'a>(&mut self, facts: impl IntoIterator<Item = (&'a str, String)>) {
        self.raw("<dl>");
        for (name, text) in facts.into_iter().filter(|(_, text)| !text.is_empty()) {
            self.element("dt", name);
            self.element("dd", &text);
        }
        self.raw("</dl>\n");
    }

    /// A table with a row of names above it. It may be wider than the screen.
    pub fn table<const N: usize>(&mut self, columns: [&str; N], rows: impl IntoIterator<Item = [String; N]>) {
        self.raw("<div class=\"wide\"><table><thead><tr>");
        columns.iter().for_each(|column| self.element("th", column));
        self.raw("</tr></thead><tbody>\n");
        for row in rows {
            self.raw("<tr>");
            row.iter().for_each(|cell| self.element("td", cell));
            self.raw("</tr>\n");
        }
        self.raw("</tbody></table></div>\n");
    }

    /// The page.
    pub fn into_text(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_a_tag_an_attribute_or_an_entity() {
        let hostile = "</td><script>alert('1')</script>\" onload=\"x & &lt;\u{1b}[2J\u{202e}\n";
        let mut html = Html::default();
        html.table(["<th>"], [[hostile.to_owned()]]);
        html.facts([("a&b", hostile.to_owned()), ("left out", String::new())]);
        html.warning(hostile);
        let text = html.into_text();
        for part in ["<script", "onload=\"", "\u{1b}", "\u{202e}", "left out"] {
            assert!(!text.contains(part), "{part}: {text}");
        }
        assert!(
            text.contains("&lt;/td&gt;&lt;script&gt;alert(&#39;1&#39;)") && text.contains("<dt>a&amp;b</dt>")
        );
        assert!(text.contains("&amp; &amp;lt;"), "{text}");
    }
}
