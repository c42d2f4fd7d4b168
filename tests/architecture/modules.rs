//! Which module uses which, read off the code: `use` trees, paths, and paths inside macros. A `mod` line alone is no use.
//!
//! A module is a file; inline modules belong to the file around them, test modules are left out. A path leads to the file that
//! defines the name, through re-exports.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemUse, Macro, UseTree};

/// A path of a module inside its crate; the root has none.
pub type ModulePath = Vec<String>;

/// The modules of one crate.
pub struct Crate {
    modules: BTreeMap<ModulePath, Module>,
}

/// One file.
struct Module {
    /// Names that its `use` lines bring in, each with its absolute path.
    imports: BTreeMap<String, ModulePath>,
    /// Everything that it names: absolute paths.
    uses: BTreeSet<ModulePath>,
}

/// An arrow between two modules.
pub type Arrow = (ModulePath, ModulePath);

impl Crate {
    /// Reads the crate whose root module is that file.
    pub fn read(root: &Path) -> Self {
        let mut files = Vec::new();
        collect(root, Vec::new(), &mut files);
        let known: BTreeSet<ModulePath> = files.iter().map(|(path, _)| path.clone()).collect();
        let modules =
            files.into_iter().map(|(path, items)| (path.clone(), Module::read(path, &items, &known)));
        Self { modules: modules.collect() }
    }

    /// The module that defines what the absolute path leads to.
    fn definer(&self, path: &[String]) -> Option<ModulePath> {
        let mut path = path.to_vec();
        // A re-export of a re-export ends; anything longer is a fault of this test.
        for _ in 0..16 {
            let depth = (0..=path.len())
                .rev()
                .find(|depth| self.modules.contains_key(path.get(..*depth).unwrap()))?;
            let (module, rest) = path.split_at(depth);
            let Some((name, rest)) = rest.split_first() else { return Some(module.to_vec()) };
            match self.modules.get(module)?.imports.get(name) {
                Some(imported) => path = [imported.as_slice(), rest].concat(),
                None => return Some(module.to_vec()),
            }
        }
        panic!("{path:?} is re-exported without end");
    }

    /// The arrows between files.
    pub fn arrows(&self) -> BTreeSet<Arrow> {
        let arrows = self.modules.iter().flat_map(|(from, module)| {
            module.uses.iter().filter_map(|path| Some((from.clone(), self.definer(path)?)))
        });
        arrows.filter(|(from, to)| from != to).collect()
    }
}

/// Arrows that are part of a circle.
pub fn circles(arrows: &BTreeSet<Arrow>) -> Vec<String> {
    let mut targets: BTreeMap<&ModulePath, Vec<&ModulePath>> = BTreeMap::new();
    for (from, to) in arrows {
        targets.entry(from).or_default().push(to);
    }
    let leads = |from: &ModulePath, goal: &ModulePath| {
        let (mut open, mut seen) = (vec![from], BTreeSet::new());
        while let Some(module) = open.pop() {
            if module == goal {
                return true;
            }
            if seen.insert(module) {
                open.extend(targets.get(module).into_iter().flatten());
            }
        }
        false
    };
    let reversed = arrows.iter().filter(|(from, to)| leads(to, from));
    reversed.map(|(from, to)| format!("{} -> {}", name(from), name(to))).collect()
}

/// The arrows between the folders (and single files) right below the root of the crate.
pub fn between_rooms(arrows: &BTreeSet<Arrow>) -> BTreeSet<Arrow> {
    let room = |module: &ModulePath| module.iter().take(1).cloned().collect::<ModulePath>();
    let between = arrows.iter().map(|(from, to)| (room(from), room(to)));
    between.filter(|(from, to)| from != to).collect()
}

fn name(path: &[String]) -> String {
    if path.is_empty() { "the root".to_owned() } else { path.join("::") }
}

/// The files of a crate, each with its items.
fn collect(file: &Path, path: ModulePath, into: &mut Vec<(ModulePath, Vec<Item>)>) {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let items = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display())).items;
    let folder = match file.file_stem().and_then(|stem| stem.to_str()) {
        Some("lib" | "main" | "mod") | None => file.parent().unwrap().to_owned(),
        Some(stem) => file.with_file_name(stem),
    };
    for item in &items {
        if let Item::Mod(module) = item
            && module.content.is_none()
            && !is_test(&module.attrs)
        {
            let child = module.ident.to_string();
            let places: [PathBuf; 2] =
                [folder.join(format!("{child}.rs")), folder.join(&child).join("mod.rs")];
            // A module that a build script writes has no file here.
            if let Some(place) = places.iter().find(|place| place.exists()) {
                collect(place, [path.clone(), vec![child]].concat(), into);
            }
        }
    }
    into.push((path, items));
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.meta.require_list().is_ok_and(|list| {
                let words = list.tokens.to_string();
                words == "test" || words.starts_with("all (test")
            })
    })
}

impl Module {
    fn read(path: ModulePath, items: &[Item], known: &BTreeSet<ModulePath>) -> Self {
        let mut reader = Reader { path, known, imports: BTreeMap::new(), uses: BTreeSet::new() };
        // First the `use` lines, for paths may begin with what they bring in.
        for item in items {
            if let Item::Use(line) = item {
                reader.line(line);
            }
        }
        for item in items {
            reader.visit_item(item);
        }
        Self { imports: reader.imports, uses: reader.uses }
    }
}

/// Reads one file.
struct Reader<'a> {
    path: ModulePath,
    known: &'a BTreeSet<ModulePath>,
    imports: BTreeMap<String, ModulePath>,
    uses: BTreeSet<ModulePath>,
}

impl Reader<'_> {
    fn line(&mut self, line: &ItemUse) {
        if !is_test(&line.attrs) {
            self.tree(&line.tree, Vec::new());
        }
    }

    fn tree(&mut self, tree: &UseTree, mut prefix: Vec<String>) {
        match tree {
            UseTree::Path(part) => {
                prefix.push(part.ident.to_string());
                self.tree(&part.tree, prefix);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.tree(tree, prefix.clone());
                }
            }
            UseTree::Glob(_) => self.import(None, &prefix),
            UseTree::Name(leaf) => {
                let leaf = leaf.ident.to_string();
                if leaf != "self" {
                    prefix.push(leaf);
                }
                self.import(prefix.last().cloned(), &prefix.clone());
            }
            UseTree::Rename(leaf) => {
                prefix.push(leaf.ident.to_string());
                self.import(Some(leaf.rename.to_string()), &prefix);
            }
        }
    }

    fn import(&mut self, name: Option<String>, path: &[String]) {
        if let Some(path) = self.absolute(path) {
            if let Some(name) = name {
                self.imports.insert(name, path.clone());
            }
            self.uses.insert(path);
        }
    }

    /// The path inside this crate, if it leads there.
    fn absolute(&self, path: &[String]) -> Option<ModulePath> {
        let (first, mut rest) = path.split_first()?;
        let mut base = match first.as_str() {
            "crate" => Vec::new(),
            "self" => self.path.clone(),
            "super" => self.path.split_last()?.1.to_vec(),
            child => {
                let child = [self.path.as_slice(), &[child.to_owned()]].concat();
                if self.known.contains(&child) { child } else { self.imports.get(first)?.clone() }
            }
        };
        while let Some(("super", after)) = rest.split_first().map(|(first, after)| (first.as_str(), after)) {
            base.pop();
            rest = after;
        }
        base.extend_from_slice(rest);
        Some(base)
    }

    fn path(&mut self, path: &[String]) {
        // One name alone was brought in by a `use` line, which counts already.
        if path.len() > 1
            && let Some(path) = self.absolute(path)
        {
            self.uses.insert(path);
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            // Lines at the top of the file are read already; an inline module's `super` is this file.
            Item::Use(line) if !is_test(&line.attrs) => self.line(line),
            Item::Mod(module) if is_test(&module.attrs) => {}
            Item::Fn(function) if is_test(&function.attrs) => {}
            Item::Impl(block) if is_test(&block.attrs) => {}
            _ => visit::visit_item(self, item),
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.path(&names);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        let text = call.tokens.to_string();
        let words: Vec<&str> = text.split(|c: char| !(c.is_alphanumeric() || "_: ".contains(c))).collect();
        for words in words {
            for path in words.replace(" :: ", "::").split(' ').filter(|path| path.contains("::")) {
                self.path(&path.split("::").map(ToOwned::to_owned).collect::<Vec<_>>());
            }
        }
    }
}

/// The test of this test: circles of every sort are seen.
#[test]
fn circles_are_seen_through_reexports_paths_and_macros() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    };
    write("lib.rs", "mod a; mod b; mod c; mod free;");
    write("a/mod.rs", "mod inner; pub use inner::Inner; pub const A: u32 = 1;");
    write("a/inner.rs", "pub struct Inner; fn f() { println!(\"{}\", super::super::c::three()); }");
    write("b.rs", "use crate::a::Inner; pub type B = Inner;");
    write("c.rs", "pub fn three() -> crate::b::B { crate::b::B }");
    write(
        "free.rs",
        "use crate::{a::A, c}; fn f() -> u32 { c::three(); A } #[cfg(test)] mod tests { use super::super::b; }",
    );
    let arrows = Crate::read(&folder.path().join("lib.rs")).arrows();
    assert_eq!(circles(&arrows), ["a::inner -> c", "b -> a::inner", "c -> b"]);
    assert_eq!(circles(&between_rooms(&arrows)), ["a -> c", "b -> a", "c -> b"]);
}
