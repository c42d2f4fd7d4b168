//! How the output is printed. The doc comments are the help texts.

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub struct Output {
    /// Form of the output
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t = Form::Table)]
    pub output: Form,
}

/// When there is colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb
    #[default]
    Auto,
    /// Also in a pipe or a file
    Always,
    /// Nowhere
    Never,
}

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Text table
    Table,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

#[derive(Debug, Args)]
pub struct Tables {
    /// Form of the output
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t = TableForm::Table)]
    pub output: TableForm,
}

/// How data is printed that has wide tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TableForm {
    /// Text table; on a terminal as wide as that
    Table,
    /// Text table with all columns, and nothing shortened
    Wide,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

impl From<TableForm> for Form {
    fn from(form: TableForm) -> Self {
        match form {
            TableForm::Table | TableForm::Wide => Self::Table,
            TableForm::Json => Self::Json,
            TableForm::Yaml => Self::Yaml,
        }
    }
}

/// How a plan is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PlanForm {
    /// Text table; on a terminal as wide as that
    Table,
    /// Text table with all columns and objects, and nothing shortened
    Wide,
    /// What would be removed, for scripts: container/ID, sandbox/ID, log_dir/NAME or image/ID on each line
    Name,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// The order of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// Largest first
    Size,
    /// Oldest first
    Age,
    /// By name
    Name,
    /// By reason
    Reason,
}

/// Forms of data that has no table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DataForm {
    Json,
    Yaml,
}

/// How settings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConfigForm {
    /// A table of keys, values and their sources
    Table,
    /// As a configuration file
    Toml,
    /// For programs
    Json,
    /// For both
    Yaml,
}
