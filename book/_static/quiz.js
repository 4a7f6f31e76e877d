// Questions with feedback on the page of a chapter, folded, before its exercises. The questions are window.sacQuiz, from
// book/quiz.json. Radio buttons and a button are native, so the keyboard works; what is said is announced by aria-live.
(() => {
  function make(tag, attributes, ...content) {
    const element = document.createElement(tag);
    Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
    element.append(...content);
    return element;
  }

  function question({ question, answers }, number, score) {
    const choices = answers.map((answer, i) => {
      const radio = make("input", { type: "radio", name: `quiz-${number}`, value: i });
      return make("label", {}, radio, make("span", {}, answer.text));
    });
    const legend = make("legend", {}, `${number}. ${question}`);
    const button = make("button", { type: "submit" }, "Check", make("span", { class: "sr-only" }, ` question ${number}`));
    const said = make("p", { class: "quiz-feedback", "aria-live": "polite" });
    const form = make("form", {}, make("fieldset", {}, legend, ...choices), button, said);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const chosen = form.querySelector("input:checked");
      if (!chosen) {
        said.textContent = "Choose an answer first.";
        return;
      }
      const { right, feedback } = answers[chosen.value];
      form.dataset.answer = right ? "right" : "wrong";
      said.textContent = `${right ? "Right." : "Not so."} ${feedback}`;
      score();
    });
    form.addEventListener("change", () => {
      delete form.dataset.answer;
      said.textContent = "";
    });
    return form;
  }

  function show() {
    const page = location.pathname.split("/").pop().replace(/\.html$/, "");
    const questions = (window.sacQuiz || {})[page];
    const article = document.querySelector("article.bd-article");
    if (!questions || !article) return;
    const result = make("p", { class: "quiz-score", "aria-live": "polite" });
    const forms = questions.map((each, i) =>
      question(each, i + 1, () => {
        const right = forms.filter((form) => form.dataset.answer === "right").length;
        result.textContent = `${right} of ${questions.length} right.`;
      }),
    );
    const title = make("summary", {}, `Quiz: ${questions.length} questions on this page`);
    const quiz = make("details", { class: "quiz" }, title, ...forms, result);
    const exercises = article.querySelector("#on-your-own");
    if (exercises) exercises.before(quiz);
    else (article.querySelector("section") || article).append(quiz);
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", show);
  else show();
})();
