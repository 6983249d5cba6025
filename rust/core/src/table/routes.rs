//! Routes: rules over messages of any dialect, each with a decision.

use std::fmt;
use std::sync::Arc;

use super::action::{Action, Mirror, Reply};
use super::cost::Cost;
use super::explain::Verdict;
use super::ids::FieldId;
use super::message::asked::Asked;
use super::message::error::MessageError;
use super::message::fields::Fields;
use super::message::layout::{DialectLayout, base_fields};
use super::message::read::{Envelope, Message, open};
use super::message::view::{Entry, View};
use super::message::workspace::Workspace;
use super::rules::{Builder, Rules};
use super::scope;
use crate::dialect::{Attribute, ByDialect, near_path};
use crate::json::Options;
use crate::pattern::{Pattern, Problem, Step, Value};

/// A route as its author wrote it.
#[derive(Clone, Debug)]
pub struct RouteSpec {
    /// The route's name.
    pub name: String,
    /// The route's pattern.
    pub pattern: Value,
    /// The cluster for the route's messages.
    pub to: Option<String>,
    /// Clusters to try, in order, when `to` fails.
    pub fallback: Vec<String>,
    /// The route's own answer, instead of a cluster's.
    pub reply: Option<Arc<Reply>>,
    /// The cluster that gets copies of the route's messages.
    pub mirror: Option<Mirror>,
    /// The route's precedence. Higher values come first; equal ones keep the order written.
    pub precedence: i64,
}

impl Default for RouteSpec {
    /// A route without a name or an action, for every message.
    fn default() -> Self {
        Self {
            name: String::new(),
            pattern: Value::Map(Vec::new()),
            to: None,
            fallback: Vec::new(),
            reply: None,
            mirror: None,
            precedence: 0,
        }
    }
}

/// What a route does with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The route's name.
    pub route: String,
    /// The cluster for the message.
    pub cluster: Option<String>,
    /// Clusters to try, in order, when `cluster` fails.
    pub fallback: Vec<String>,
    /// What happens to the message.
    pub action: Action,
    /// The cluster that gets copies of the route's messages.
    pub mirror: Option<Mirror>,
}

/// A message that was read, and the decision on it.
#[derive(Clone, Debug)]
pub struct Decided {
    /// The message's envelope.
    pub envelope: Envelope,
    /// Rank of the first route that matches, for [`RouteTable::decision`].
    pub decision: Result<usize, NoRoute>,
}

/// No route matches.
#[derive(Clone, Debug)]
pub struct NoRoute {
    /// The message's attributes as shortened JSON text, followed by path and method if `unlisted`.
    pub seen: Vec<(&'static str, String)>,
    /// Whether only routes that test `path` may take requests to this path.
    pub unlisted: bool,
    /// A known path that was probably meant.
    pub near: Option<&'static str>,
}

/// Every route's verdict on a message.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The message's envelope.
    pub envelope: Envelope,
    /// Rank of the first route that matches, for [`RouteTable::decision`].
    pub decision: Option<usize>,
    /// The message's attributes as shortened JSON text.
    pub seen: Vec<(&'static str, String)>,
    /// The routes' verdicts, in the order in which routes are tried.
    pub verdicts: Vec<Verdict>,
}

/// Routes compiled for deciding.
#[derive(Debug)]
pub struct RouteTable {
    fields: Fields,
    rules: Rules,
    /// By rank.
    decisions: Vec<Decision>,
    /// The position in which each route was written, by rank.
    order: Vec<usize>,
    patterns: Vec<Pattern>,
    /// Whether each route tests `path`, by rank.
    by_path: Vec<bool>,
    layouts: ByDialect<DialectLayout>,
    /// The fields that are asked for beside the routes.
    asked: Vec<FieldId>,
    options: Options,
}

impl RouteTable {
    /// Compiles routes.
    ///
    /// # Errors
    /// Every problem in any route. Paths begin with the route's position and `match`.
    pub fn compile(specs: &[RouteSpec], options: Options) -> Result<Self, Vec<Problem>> {
        Self::compile_asking(specs, options, &[])
    }

    /// Compiles routes, and what messages are asked for besides: the values at fields that patterns can name, by their
    /// paths. Values are read in the same pass as what routes ask for; without such fields, nothing costs more.
    ///
    /// # Errors
    /// As [`RouteTable::compile`].
    pub fn compile_asking(
        specs: &[RouteSpec],
        options: Options,
        asked: &[Vec<Box<str>>],
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut parsed = Vec::with_capacity(specs.len());
        for (index, spec) in specs.iter().enumerate() {
            match scope::parse(&spec.pattern) {
                Ok(pattern) => parsed.push((index, spec, pattern)),
                Err(found) => problems.extend(found.into_iter().map(|problem| {
                    Problem {
                        path: [Step::Index(index), Step::Key("match".into())]
                            .into_iter()
                            .chain(problem.path)
                            .collect(),
                        message: problem.message,
                    }
                })),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        // The sort is stable: routes of equal precedence keep the order written.
        parsed.sort_by_key(|(_, spec, _)| std::cmp::Reverse(spec.precedence));
        let mut fields = base_fields();
        let asked: Vec<FieldId> = asked.iter().map(|path| fields.intern(path)).collect();
        let mut builder = Builder::default();
        for (_, _, pattern) in &parsed {
            builder.push(pattern, &mut |path| fields.intern(path));
        }
        let rules = builder.finish();
        let content = asked.contains(&(Attribute::Content as FieldId))
            || parsed.iter().any(|(_, _, pattern)| pattern.tests("content"));
        let layouts = ByDialect::new(|dialect| DialectLayout::new(dialect, &fields, content));
        let by_path = parsed.iter().map(|(_, _, pattern)| pattern.tests("path")).collect();
        let decide = |spec: &RouteSpec| Decision {
            route: spec.name.clone(),
            cluster: spec.to.clone(),
            fallback: spec.fallback.clone(),
            action: spec.reply.clone().map_or(Action::Forward, Action::Reply),
            mirror: spec.mirror.clone(),
        };
        Ok(Self {
            decisions: parsed.iter().map(|(_, spec, _)| decide(spec)).collect(),
            order: parsed.iter().map(|(index, ..)| *index).collect(),
            patterns: parsed.into_iter().map(|(_, _, pattern)| pattern).collect(),
            fields,
            rules,
            by_path,
            layouts,
            asked,
            options,
        })
    }

    /// The decision of the route of this rank.
    #[must_use]
    pub fn decision(&self, rank: usize) -> Option<&Decision> {
        self.decisions.get(rank)
    }

    /// All decisions, by rank.
    #[must_use]
    pub fn decisions(&self) -> &[Decision] {
        &self.decisions
    }

    /// The position in which the route of this rank was written.
    pub(crate) fn position(&self, rank: usize) -> Option<usize> {
        self.order.get(rank).copied()
    }

    /// Each route's position as written and its pattern, by rank.
    pub(crate) fn patterns(&self) -> impl Iterator<Item = (usize, &Pattern)> {
        self.order.iter().copied().zip(&self.patterns)
    }

    /// Number of routes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether the table has no routes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads a message and finds the first route that matches it.
    ///
    /// # Errors
    /// The message is malformed, or contradicts the caller's identity.
    pub fn decide(&self, message: &Message<'_>) -> Result<Decided, MessageError> {
        self.decide_asking(message, |_, _| ()).map(|(decided, _)| decided)
    }

    /// [`decide`](Self::decide), and with the rank of the route what `ask` makes of the values that the table is asked for.
    ///
    /// # Errors
    /// As [`RouteTable::decide`].
    pub fn decide_asking<T>(
        &self,
        message: &Message<'_>,
        ask: impl FnOnce(usize, Asked<'_>) -> T,
    ) -> Result<(Decided, Option<T>), MessageError> {
        self.with_view(message, |envelope, view| {
            let decision = self.first(message, view).ok_or_else(|| NoRoute::of(message, view));
            let answer = decision.as_ref().ok().map(|rank| ask(*rank, Asked::new(view, &self.asked)));
            (Decided { envelope, decision }, answer)
        })
    }

    /// What `ask` makes of the values that the table is asked for, of a message that is not to be decided on.
    ///
    /// # Errors
    /// As [`RouteTable::decide`].
    pub fn ask<T>(&self, message: &Message<'_>, ask: impl FnOnce(Asked<'_>) -> T) -> Result<T, MessageError> {
        self.with_view(message, |_, view| ask(Asked::new(view, &self.asked)))
    }

    /// Ranks of all routes that match, ascending.
    ///
    /// # Errors
    /// As [`RouteTable::decide`].
    pub fn matches(&self, message: &Message<'_>) -> Result<Vec<usize>, MessageError> {
        self.with_view(message, |_, view| {
            let mut ranks = self.rules.matches(view);
            ranks.retain(|rank| self.takes(message, *rank));
            ranks
        })
    }

    /// Why each route does or does not match.
    ///
    /// # Errors
    /// As [`RouteTable::decide`].
    pub fn explain(&self, message: &Message<'_>) -> Result<Explanation, MessageError> {
        self.with_view(message, |envelope, view| {
            // A message that cannot be decided on is refused; the explanation of any other may take any time.
            self.first(message, view);
            if view.work.is_exhausted() {
                return Explanation { envelope, decision: None, seen: Vec::new(), verdicts: Vec::new() };
            }
            view.work.lift();
            let mut verdicts = self.rules.explain(&self.fields, view, 0..self.len());
            for (rank, verdict) in verdicts.iter_mut().enumerate() {
                if !self.takes(message, rank) {
                    *verdict = Verdict {
                        matched: false,
                        path: Some("path".to_owned()),
                        expected: None,
                        seen: Some(Entry::text(0, message.path).shown()),
                        reason: format!("{BY_PATH}: this one does not"),
                    };
                }
            }
            let decision = verdicts.iter().position(|verdict| verdict.matched);
            Explanation { envelope, decision, seen: seen(view), verdicts }
        })
    }

    /// The routes that are tried one by one, and those with conditions that are compared with each value, by rank.
    #[must_use]
    pub fn cost(&self) -> Cost {
        let fields = &self.fields;
        Cost {
            rules: self.len(),
            linear: self.rules.linear(fields),
            per_value: self.rules.per_value(fields, &|path| scope::may_have_many(path)),
        }
    }

    /// Rank of the first route that takes a message.
    fn first(&self, message: &Message<'_>, view: &View<'_>) -> Option<usize> {
        if message.is_listed() {
            return self.rules.first(view, |_| true).map(|(rank, _)| rank);
        }
        self.rules.matches(view).into_iter().find(|rank| self.takes(message, *rank))
    }

    /// Whether a matching route may take the message. If its dialect does not list the request's path, only routes that test
    /// `path` take it.
    fn takes(&self, message: &Message<'_>, rank: usize) -> bool {
        message.is_listed() || self.by_path.get(rank).copied().unwrap_or_default()
    }

    fn with_view<T>(
        &self,
        message: &Message<'_>,
        decide: impl FnOnce(Envelope, &View<'_>) -> T,
    ) -> Result<T, MessageError> {
        let layout = self.layouts.of(message.dialect);
        Workspace::lend(|workspace| open(message, layout, self.options, workspace, self.len(), decide))
    }
}

impl NoRoute {
    fn of(message: &Message<'_>, view: &View<'_>) -> Self {
        let mut seen = seen(view);
        let unlisted = !message.is_listed();
        if unlisted {
            let head = [("path", message.path), ("method", message.method)];
            seen.extend(head.map(|(name, text)| (name, Entry::text(0, text).shown())));
        }
        Self { seen, unlisted, near: near_path(message.path).filter(|_| unlisted) }
    }
}

impl fmt::Display for NoRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen: Vec<String> = self.seen.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let seen = if seen.is_empty() { "none".to_owned() } else { seen.join(", ") };
        write!(f, "no route matches this message. Fields seen: {seen}")?;
        if let Some(near) = self.near {
            write!(f, ". Did you mean `{near}`?")
        } else if self.unlisted {
            write!(f, ". {BY_PATH}")
        } else {
            Ok(())
        }
    }
}

/// The rule of [`RouteTable::takes`] in words.
const BY_PATH: &str = "Requests to this path only go to routes that test `path`";

/// The message's attributes as shortened JSON text, in the order of the envelope.
fn seen(view: &View<'_>) -> Vec<(&'static str, String)> {
    (0..)
        .zip(Attribute::ALL)
        .filter_map(|(field, attribute)| view.shown(field).map(|shown| (attribute.name(), shown)))
        .collect()
}
