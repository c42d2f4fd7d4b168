//! A plan as a table.

use cri_gc_policy::PlanReport;
use cri_gc_policy::report::SectionReport;

use super::table::{bytes, render, short, table, tally, tally_line};

/// What goes, object by object, and what stays, by reason (`all`: object by object too).
#[must_use]
pub fn text(plan: &PlanReport, all: bool) -> String {
    let sections: [(&str, &SectionReport); 4] = [
        ("container", &plan.containers),
        ("sandbox", &plan.sandboxes),
        ("log dir", &plan.log_dirs),
        ("image", &plan.images.section),
    ];
    let mut text = String::new();
    let removals: usize = sections.iter().map(|(_, section)| section.remove.len()).sum();
    if removals == 0 {
        text.push_str("Nothing would be removed.\n");
    } else {
        let mut rows = table(&["REMOVE", "ID", "REASON", "DETAIL"]);
        for (kind, section) in sections {
            for item in &section.remove {
                rows.add_row([kind, short(&item.id), &item.reason, &item.detail]);
            }
        }
        text.push_str(&render(rows, &[]));
    }
    text.push('\n');
    if all {
        let mut rows = table(&["KEEP", "ID", "REASON", "DETAIL"]);
        for (kind, section) in sections {
            for item in &section.keep {
                rows.add_row([kind, short(&item.id), &item.reason, &item.detail]);
            }
        }
        text.push_str(&render(rows, &[]));
        text.push('\n');
    }
    let mut rows = table(&["", "REMOVE", "KEEP", "KEPT FOR"]);
    for (kind, section) in sections {
        let reasons = tally(section.keep.iter().map(|item| item.reason.as_str()));
        rows.add_row([
            format!("{kind}s").replace("sandboxs", "sandboxes"),
            section.remove.len().to_string(),
            section.keep.len().to_string(),
            tally_line(&reasons),
        ]);
    }
    text.push_str(&render(rows, &[1, 2]));
    if plan.images.bytes_to_free > 0 {
        text.push_str(&format!("\nImages have to free {}.\n", bytes(plan.images.bytes_to_free)));
    }
    text
}
