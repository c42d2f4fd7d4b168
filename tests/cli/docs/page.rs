//! The fenced blocks of a Markdown page. It only takes a page apart and puts it together again; it runs nothing.

use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A page: its lines, and where its fenced blocks are.
pub struct Page {
    pub path: PathBuf,
    lines: Vec<String>,
    pub blocks: Vec<Block>,
}

/// A fenced block.
pub struct Block {
    /// What stands after the fence: the language, and how the block is tested.
    pub kind: String,
    /// Spaces before the fence, in a list.
    indent: usize,
    /// Index of the first and one past the last line inside.
    begin: usize,
    end: usize,
}

/// One command of a `console` block with the output that the page shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    pub command: String,
    pub output: String,
}

/// README.md and all pages of docs/.
pub fn pages() -> Vec<Page> {
    let mut paths = vec![root().join("README.md")];
    let docs = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    paths.extend(docs.filter(|path| path.extension().is_some_and(|ending| ending == "md")));
    paths.sort();
    paths.iter().map(|path| Page::read(path)).collect()
}

impl Page {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
        let fences = |line: &&(usize, &String)| line.1.trim_start().starts_with("```");
        let fences: Vec<(usize, &String)> = lines.iter().enumerate().filter(|line| fences(&line)).collect();
        assert_eq!(fences.len() % 2, 0, "a fence is not closed in {}", path.display());
        let blocks = fences.chunks(2).map(|pair| Block {
            kind: pair[0].1.trim().trim_start_matches('`').to_owned(),
            indent: pair[0].1.len() - pair[0].1.trim_start().len(),
            begin: pair[0].0 + 1,
            end: pair[1].0,
        });
        Self { path: path.to_owned(), blocks: blocks.collect(), lines }
    }

    /// The lines of a block, without the indent of its fence.
    pub fn text(&self, block: &Block) -> String {
        let line = |line: &String| line.get(block.indent..).unwrap_or_default().to_owned() + "\n";
        self.lines[block.begin..block.end].iter().map(line).collect()
    }

    /// The language of a block, and the rest of what stands after the fence.
    pub fn kind(block: &Block) -> (&str, &str) {
        block.kind.split_once(' ').unwrap_or((&block.kind, ""))
    }

    /// The configurations of a page that have a name: its commands can read them as files.
    pub fn configurations(&self) -> impl Iterator<Item = (&str, String)> {
        self.blocks.iter().filter_map(|block| match Self::kind(block) {
            ("toml", name) if !name.is_empty() => Some((name, self.text(block))),
            _ => None,
        })
    }

    /// The lines of a page that are in no block, with their numbers.
    pub fn prose(&self) -> impl Iterator<Item = (usize, &str)> {
        let is_inside = |number: usize| self.blocks.iter().any(|b| number + 1 >= b.begin && number <= b.end);
        let lines = self.lines.iter().enumerate().filter(move |(number, _)| !is_inside(*number));
        lines.map(|(number, line)| (number + 1, line.as_str()))
    }

    /// The commands of a `console` block.
    pub fn examples(&self, block: &Block) -> Vec<Example> {
        let mut examples: Vec<Example> = Vec::new();
        for line in self.text(block).lines() {
            match (line.strip_prefix("$ "), examples.last_mut()) {
                (Some(command), _) => {
                    examples.push(Example { command: command.to_owned(), output: String::new() });
                }
                (None, Some(example)) => example.output.push_str(&format!("{line}\n")),
                (None, None) => panic!("{}: a console block starts with \"$ \": {line}", self.place(block)),
            }
        }
        examples
    }

    /// Path and line of a block, for messages.
    pub fn place(&self, block: &Block) -> String {
        format!("{}:{}", self.path.display(), block.begin)
    }

    /// Writes the page with other examples in some of its blocks, by the number of the block.
    pub fn rewrite(&self, changed: &[(usize, Vec<Example>)]) {
        let mut lines = self.lines.clone();
        // The last one first, so that the places of the others remain right.
        for (number, examples) in changed.iter().rev() {
            let block = &self.blocks[*number];
            let text: String = examples.iter().map(|e| format!("$ {}\n{}", e.command, e.output)).collect();
            let indent = " ".repeat(block.indent);
            let line = |line: &str| if line.is_empty() { String::new() } else { format!("{indent}{line}") };
            lines.splice(block.begin..block.end, text.lines().map(line));
        }
        std::fs::write(&self.path, lines.join("\n") + "\n").unwrap();
    }
}
