//! Checks the page of `brooklet report` as people see it: takes screenshots of four widths in light
//! and dark, and runs axe-core, which finds barriers for readers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use brooklet_firmware::{Registry, apt, compile, npm};

use crate::steps::{Failure, output_of, run, say};

/// Widths and heights of windows.
const SIZES: [[u32; 2]; 4] = [[360, 3600], [768, 3000], [1200, 2400], [1600, 2400]];

/// Chromium's number for each theme.
const THEMES: [(&str, u32); 2] = [("light", 1), ("dark", 0)];

/// The package of axe-core, with its version.
const PACKAGES: [&str; 2] =
    [include_str!("../pages/package.json"), include_str!("../pages/package-lock.json")];

/// The script that runs axe-core. At the end of the page, it lists the findings with serious or
/// critical impact.
const CHECK: &str = "axe.run(document).then((result) => {
  const bad = result.violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
  const lines = bad.map(({ id, help, nodes }) =>
    `${id}: ${help}: ${nodes.map(({ target }) => target.join(' ')).slice(0, 4).join(', ')}`);
  const checked = document.createElement('pre');
  checked.id = 'axe';
  checked.textContent = `axe has ${result.passes.length} passes\\n${lines.join('\\n')}\\nend of axe`;
  document.body.append(checked);
});";

/// Makes the page of the demo, takes screenshots, and checks the page.
///
/// Page and screenshots are in `target/pages`.
pub(crate) fn pages() -> Result<(), Failure> {
    let registry = Registry::find()?;
    let folder = registry.target_dir().with_file_name("pages");
    let failed = |error: std::io::Error| Failure(format!("error: {}: {error}", folder.display()));
    let images = folder.join("images/cat");
    fs::create_dir_all(&images).map_err(failed)?;
    let demo = registry.root().join("tools/demo");
    fs::copy(demo.join("chelsea.png"), images.join("chelsea.png")).map_err(failed)?;
    npm::install(&folder, PACKAGES, "axe-core", "to check pages", &mut say)?;
    if !apt::runs("chromium", &["--version"]) {
        apt::install(&["chromium"], "to open pages", &mut say).map_err(Failure)?;
    }
    // Checks that the core for pages, whose build is in the repository, still compiles.
    compile::page(&registry, &mut say)?;
    let page = report(&registry, &folder)?;
    for [width, height] in SIZES {
        for (theme, number) in THEMES {
            let picture = folder.join(format!("report-{width}-{theme}.png"));
            let mut chromium = chromium(&folder, [width, height], number);
            chromium.arg(format!("--screenshot={}", picture.display()));
            run(chromium.arg(format!("file://{}", page.display())))?;
            say(&picture.display().to_string());
        }
    }
    let text = fs::read_to_string(&page).map_err(failed)?;
    let axe =
        fs::read_to_string(folder.join("node_modules/axe-core/axe.min.js")).map_err(failed)?;
    let clean = check(&folder, &with(&text, &axe))?;
    if let Some(findings) = clean {
        return Err(Failure(format!("error: axe-core on {}:\n{findings}", page.display())));
    }
    // A check that cannot fail is useless, so this one must fail for a broken page.
    let broken = text.replacen("aria-label=\"Step\"", "", 1);
    if check(&folder, &with(&broken, &axe))?.is_none() {
        return Err(Failure("error: axe-core does not miss the slider's label".into()));
    }
    say("axe-core finds nothing serious");
    Ok(())
}

/// The page of the demo's ResNet-20, on the demo's photo.
fn report(registry: &Registry, folder: &Path) -> Result<PathBuf, Failure> {
    let mut build = Command::new("cargo");
    build.args(["build", "--package", "brooklet-cli"]).current_dir(registry.root());
    run(&mut build)?;
    let brooklet = registry.target_dir().with_file_name("debug").join("brooklet");
    let demo = registry.root().join("tools/demo");
    let (network, model) = (demo.join("resnet20.safetensors"), folder.join("resnet20.brook"));
    let mut quantize = Command::new(&brooklet);
    quantize.args(["quantize", "--arch", "resnet20", "--resize", "32", "--crop", "32"]);
    quantize.args(["--mean", "0.4914,0.4822,0.4465", "--std", "0.2470,0.2435,0.2616"]);
    quantize.arg(&network).arg("--ranges").arg(demo.join("ranges.json"));
    run(quantize.arg("-o").arg(&model))?;
    let page = folder.join("report.html");
    let mut report = Command::new(&brooklet);
    report.args(["report", "--arch", "resnet20", "--board", "rpi-pico"]).arg(network).arg(model);
    run(report.arg(folder.join("images")).arg("-o").arg(&page))?;
    Ok(page)
}

/// A page with axe-core added.
fn with(page: &str, axe: &str) -> String {
    // A `</script` in its strings must not end this script.
    let axe = axe.replace("</script", "<\\/script");
    page.replacen("</body>", &format!("<script>{axe}</script><script>{CHECK}</script></body>"), 1)
}

/// The findings of axe-core in a page, in both themes, wide and narrow; `None` if there are none.
fn check(folder: &Path, page: &str) -> Result<Option<String>, Failure> {
    let path = folder.join("checked.html");
    let failed = |error| Failure(format!("error: {}: {error}", path.display()));
    fs::write(&path, page).map_err(failed)?;
    for size in [SIZES[0], SIZES[3]] {
        for (theme, number) in THEMES {
            let mut chromium = chromium(folder, size, number);
            let dom =
                output_of(chromium.arg("--dump-dom").arg(format!("file://{}", path.display())))?;
            let dom = String::from_utf8_lossy(&dom);
            let told =
                dom.rsplit_once("axe has ").and_then(|(_, told)| told.split_once("end of axe"));
            let Some((told, _)) = told else {
                return Err(Failure(format!("error: axe-core did not run in {}", path.display())));
            };
            let (passes, findings) = told.split_once('\n').unwrap_or((told, ""));
            say(&format!("{} wide, {theme}: {}", size[0], passes.trim()));
            if !findings.trim().is_empty() {
                return Ok(Some(format!("{} wide, {theme}:\n{}", size[0], findings.trim())));
            }
        }
    }
    Ok(None)
}

/// Headless Chromium with this window and theme, whose clock runs until the page is ready.
fn chromium(folder: &Path, [width, height]: [u32; 2], theme: u32) -> Command {
    let mut chromium = Command::new("chromium");
    chromium
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--no-first-run",
        ])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--log-level=3", "--virtual-time-budget=20000", "--force-device-scale-factor=1"])
        .arg(format!("--window-size={width},{height}"))
        .arg(format!("--blink-settings=preferredColorScheme={theme}"))
        .arg(format!("--user-data-dir={}", folder.join("profile").display()));
    chromium
}
