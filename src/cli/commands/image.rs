//! `waybill image`.

use serde_json::{Value, json};

use crate::cli::args::{ImageArgs, ImageFormat};
use crate::cli::exit;
use crate::cli::session::{OpenBases, Session};
use crate::cli::stopped::Ended;
use crate::model::{CommitId, Digest, ProjectName};
use crate::plan::{Action, Place, Plan};
use crate::problem::{Class, Failure, Problem};

/// The most history that is read where nobody asks for a reason.
const HISTORY: usize = 500;

/// A project's recorded image.
struct Image {
    project: ProjectName,
    reference: String,
    digest: Digest,
    place: Place,
    built_at: CommitId,
}

pub(in crate::cli) async fn run(session: &Session, args: &ImageArgs) -> Ended {
    let request = session.request(&args.projects, HISTORY)?;
    let bases = session.bases().await?;
    let planning = session.plan(&bases, &request).await?;
    let images = images(&planning.plan, &session.names(&args.projects)?, &bases)?;
    if session.output.json {
        session.output.document(&json!({
            "schema": "waybill.image/1",
            "commit": session.commit,
            "projects": images.iter().map(|image| row(image, &bases)).collect::<Vec<_>>(),
        }))?;
    } else {
        let lines = images.iter().map(|image| line(image, args.format));
        session.output.data(&lines.collect::<String>())?;
    }
    session.close(bases).await;
    Ok(exit::DONE)
}

/// The images of these projects, in the order given; all that are missing are told at once.
fn images(plan: &Plan, names: &[ProjectName], bases: &OpenBases) -> Result<Vec<Image>, Failure> {
    let mut images = Vec::new();
    let mut problems = Vec::new();
    for planned in names.iter().filter_map(|name| plan.projects.get(name)) {
        let Action::Reuse {
            image,
            digest,
            place,
            facts,
            ..
        } = &planned.action
        else {
            problems.push(not_built(&planned.name, &planned.action, plan.commit));
            continue;
        };
        let project = planned.name.clone();
        images.push(Image {
            reference: bases.lasting_reference(&project, image, *place, facts.commit),
            project,
            digest: *digest,
            place: *place,
            built_at: facts.commit,
        });
    }
    if problems.is_empty() {
        Ok(images)
    } else {
        let class = Class::Usage;
        Err(Failure { class, problems })
    }
}

fn not_built(project: &ProjectName, action: &Action, commit: CommitId) -> Problem {
    let at = commit.short();
    if *action == Action::None {
        let message = format!("it has no image at {at}: there is nothing to build");
        return Problem::error("nothing-to-build", message)
            .project(project)
            .hint(format!("`waybill why {project}` says what is missing"));
    }
    Problem::error("not-built", format!("it is not built at {at}"))
        .project(project)
        .hint(format!("`waybill build {project}` builds it"))
}

fn row(image: &Image, bases: &OpenBases) -> Value {
    json!({
        "name": image.project,
        "image": image.reference,
        "digest": image.digest,
        "base": bases.name(image.place),
        "builtAt": image.built_at,
    })
}

fn line(image: &Image, format: ImageFormat) -> String {
    match format {
        ImageFormat::Ref => format!("{}\n", image.reference),
        ImageFormat::Digest => format!("{}\n", image.digest),
        ImageFormat::Env => format!("{}={}\n", variable(&image.project), image.reference),
    }
}

/// The name of the environment variable for a project's image.
fn variable(project: &ProjectName) -> String {
    let name = project.as_str().chars().map(|character| {
        if character.is_ascii_alphanumeric() {
            character.to_ascii_uppercase()
        } else {
            '_'
        }
    });
    let name: String = name.chain("_IMAGE".chars()).collect();
    // A variable's name does not begin with a digit (POSIX, section 3.230).
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        format!("_{name}")
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_have_names_that_shells_take() {
        for (project, name) in [
            ("api", "API_IMAGE"),
            ("services/web-app.v2", "SERVICES_WEB_APP_V2_IMAGE"),
            ("2fa", "_2FA_IMAGE"),
        ] {
            assert_eq!(variable(&project.parse().unwrap()), name);
        }
    }
}
