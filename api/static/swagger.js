// Starts Swagger UI (vendor/swagger-ui) on the OpenAPI description of this server.

/* global SwaggerUIBundle */

document.body.style.margin = "0";
document.documentElement.classList.toggle("dark-mode", matchMedia("(prefers-color-scheme: dark)").matches);
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger",
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  validatorUrl: "none", // the default is validator.swagger.io
});
